"""A user's mistakes with FastAPI: each marked line must be rejected by both type checkers."""

from fait.fastapi import Commands, ProblemDetails, Reads, commands, feeds
from tests.typing.fastapi_right import Account, Balance


async def wrong(cmd: Commands, reads: Reads) -> None:
    await cmd.transact(Account.open, "1", 7)  # E: the owner is a str
    await cmd.transact(Account.open, "1")  # E: the owner is missing
    await cmd.publish(Account)  # E: the stream is missing
    row = await reads.one(Balance, account_id="1")
    print(row.owner)  # E: the read model has no such column
    reads.etag("1")  # E: a version is an int
    commands()  # E: the principal has no default
    commands(principal=None, if_match="always")  # E: not an option
    feeds()  # E: authorization has no default
    ProblemDetails("409", "x", "y")  # E: a status is an int
