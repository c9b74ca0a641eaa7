"""A user's FastAPI application: both type checkers must accept it."""

from typing import Annotated, Self, assert_type

import msgspec
from fastapi import Depends, FastAPI, Header, Response

import fait
from fait.fastapi import (
    AsJson,
    Commands,
    CurrentPage,
    CurrentReads,
    CurrentSystem,
    EventStream,
    Feeds,
    ProblemDetails,
    ProblemTable,
    commands,
    feeds,
    health,
    install,
    lifespan,
    problems,
)


@fait.event("typing.opened")
class Opened:
    owner: str


class Account(fait.Aggregate, category="account"):
    owner: str = ""

    def open(self, owner: str) -> int:
        self.emit(Opened(owner))
        return 1

    def evolve(self, event: Opened) -> None:
        self.owner = event.owner


class Balance(fait.ReadModel, key="account_id"):
    account_id: str
    version: int

    @classmethod
    def evolve(cls, row: Self | None, event: Opened, envelope: fait.Envelope) -> Self | None:
        return cls(account_id=envelope.stream_id, version=envelope.version)


class SoldOut(fait.Rejected):
    sku = ""


def sold_out(error: SoldOut) -> ProblemDetails:
    return ProblemDetails(409, "sold-out", "Sold out.", members={"sku": error.sku})


async def current_user(x_user: Annotated[str, Header()]) -> str:
    return x_user


async def may_follow(user: Annotated[str, Depends(current_user)]) -> None: ...


bank = fait.App("bank")
bank.include(Account, Balance)
answers: ProblemTable = {fait.Rejected: ProblemDetails(422, "rejected", "No."), SoldOut: sold_out}
web = FastAPI(lifespan=lifespan(bank, "memory:", problems=answers, lease_s=1.0))
install(web)
web.include_router(health())

Write = Annotated[Commands, commands(principal=current_user)]


@web.post("/accounts", status_code=201, responses=problems(409))
async def open_account(owner: str, cmd: Write, reply: Response) -> dict[str, str]:
    account_id = cmd.new_id()
    result = await cmd.transact(Account.open, account_id, owner)
    assert_type(result, fait.WriteResult[int])
    assert_type(await cmd.publish(Opened(owner), stream="account-1"), fait.WriteResult[None])
    reply.headers["Location"] = f"/accounts/{account_id}"
    return {"account_id": account_id}


@web.get("/accounts")
async def list_accounts(reads: CurrentReads, page: CurrentPage) -> list[Balance]:
    return await reads.page(Balance, page, order_by="-version")


@web.get("/accounts/{account_id}")
async def get_account(account_id: str, reads: CurrentReads, system: CurrentSystem) -> Balance:
    row = await reads.one(Balance, account_id=account_id)
    assert_type(row, Balance)
    assert_type(await system.load(Account, account_id), Account)
    reads.etag(row.version)
    return row


@web.get("/accounts/{account_id}/events", response_class=EventStream)
async def follow(account_id: str, feed: Annotated[Feeds, feeds(authorize=may_follow)]) -> EventStream:
    return feed.stream(f"account-{account_id}")


class Receipt(msgspec.Struct):
    """A Struct of the application."""

    total: int


@web.post("/receipts")
async def confirm(body: AsJson[Receipt]) -> AsJson[Receipt]:
    assert_type(body, Receipt)
    return Receipt(body.total)
