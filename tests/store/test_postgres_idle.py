"""The idle timeout of a transaction after an append: readers wait for its end."""

from collections.abc import Callable

import asyncpg
import pytest

import fait

app = fait.App("idle")


@fait.event("idle.noted")
class Noted:
    number: int


app.include(Noted)


@pytest.mark.parametrize("key", [None, "once"])  # fait_append_one_1 and fait_append_1
@pytest.mark.parametrize(
    ("before", "after"),
    [("0", "1min"), ("5s", "5s"), ("700ms", "700ms"), ("1min", "1min"), ("2h", "1min"), ("1d", "1min")],
)
async def test_append_limits_idle_timeout_unless_session_has_shorter_one(
    postgres_url: Callable[..., str], key: str | None, before: str, after: str
) -> None:
    url = postgres_url()
    address, _, schema = url.partition("?schema=")
    async with app.open(url, run="elsewhere"):
        connection = await asyncpg.connect(address)
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{before}'")
                await app.outbox(connection, schema=schema).add(Noted(1), stream="a", key=key)
                now = await connection.fetchval("SELECT current_setting('idle_in_transaction_session_timeout')")
        finally:
            await connection.close()

    assert now == after
