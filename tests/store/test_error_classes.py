"""The class of an error: an outage is retried, a statement that would fail again is not."""

from collections.abc import Callable
from contextlib import closing
from typing import Any, Self

import apsw
import asyncpg
import pytest

import fait
from fait._store.postgres import connection as postgres
from fait._store.sqlite import connection as sqlite

OUTAGES = {
    "08006": "cannot be reached",
    "25006": "RESET default_transaction_read_only",
    "25P03": "idle for too long",
    "26000": "prepare=no",
    "28000": "authentication failed",
    "28P01": "authentication failed",
    "3D000": "createdb",
    "40001": "SerializationError",
    "40P01": "DeadlockDetectedError",
    "42501": "Grant it to the role",
    "42P05": "prepare=no",
    "53100": "Free some",
    "53200": "Free some",
    "53300": "the connection limit of the role",
    "55P03": "lock timeout",
    "57014": "raise statement_timeout",
    "57P01": "cannot be reached",
    "57P02": "cannot be reached",
    "57P03": "cannot be reached",
    "58030": "PostgresIOError",
    "XX000": "InternalServerError",
    "XX001": "DataCorruptedError",
}
"""Errors of the server, the connection or a lock, and of what an administrator can change while the process waits."""

STATEMENT_ERRORS = {
    "0A000": "rejected the statement",
    "22021": "rejected a value",
    "22P02": "rejected a value",
    "22P05": "rejected a value",
    "23502": "rejected a value",
    "23514": "rejected a value",
    "3F000": "fait db status",
    "42601": "fait db status",
    "42703": "fait db status",
    "42883": "fait db status",
    "42P01": "fait db status",
    "54000": "rejected the statement",
    "FA001": "RESET default_transaction_isolation",
    "P0001": "rejected the statement",
}


def server_error(state: str) -> BaseException:
    driver: Any = asyncpg.PostgresError
    return driver.new({"C": state, "M": "said 'secret'", "S": "ERROR"})


@pytest.mark.parametrize("state", OUTAGES)
def test_outage_is_store_unavailable(state: str) -> None:
    error = postgres.map_error(server_error(state), "postgresql://host/shop")

    assert type(error) is fait.StoreUnavailable
    assert error.outcome == "not_written"
    assert OUTAGES[state] in str(error)


@pytest.mark.parametrize("state", STATEMENT_ERRORS)
def test_statement_that_would_fail_again_is_an_error_of_usage(state: str) -> None:
    error = postgres.map_error(server_error(state), "postgresql://host/shop")

    assert type(error) is fait.UsageError
    assert STATEMENT_ERRORS[state] in str(error)
    assert str(error).endswith("Nothing was written.")
    assert "secret" not in str(error) or state[:2] not in ("22", "23")  # these messages may contain values


@pytest.mark.parametrize("state", [*OUTAGES, *STATEMENT_ERRORS])
def test_unknown_outcome_is_never_an_error_of_usage(state: str) -> None:
    error = postgres.map_error(server_error(state), "postgresql://host/shop", "unknown")

    assert isinstance(error, fait.StoreUnavailable)
    assert error.outcome == "unknown"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (apsw.FullError("disk"), fait.StoreUnavailable),
        (apsw.BusyError("busy"), fait.StoreUnavailable),
        (apsw.IOError("io"), fait.StoreUnavailable),
        (apsw.NoMemError("memory"), fait.StoreUnavailable),
        (apsw.CantOpenError("open"), fait.StoreUnavailable),
        (apsw.ReadOnlyError("readonly"), fait.StoreUnavailable),
        (apsw.CorruptError("corrupt"), fait.StoreUnavailable),
        (apsw.SQLError("no such column: n"), fait.UsageError),
        (apsw.ConstraintError("secret"), fait.UsageError),
        (apsw.MismatchError("secret"), fait.UsageError),
        (apsw.TooBigError("secret"), fait.UsageError),
    ],
)
def test_class_of_an_sqlite_error(error: apsw.Error, expected: type[fait.FaitError]) -> None:
    mapped = sqlite.map_error(error, "shop.db")

    assert type(mapped) is expected
    assert "secret" not in str(mapped)
    assert "Nothing was written." in str(mapped)


@fait.event("classes.counted")
class Counted:
    n: int


class Counts(fait.ReadModel, key="name", table="counts"):
    name: str
    n: int

    @classmethod
    def evolve(cls, row: Self | None, event: Counted, at: fait.Envelope) -> Self:
        return cls(name=at.stream_id, n=event.n)


async def run(url: str, sql: str) -> None:
    """Run a statement; `{0}` is the schema, with a dot."""
    if url.startswith("sqlite"):
        with closing(apsw.Connection(url.removeprefix("sqlite:///"))) as file:
            file.execute(sql.format(""))
        return
    address, _, schema = url.partition("?schema=")
    server = await asyncpg.connect(address)
    await server.execute(sql.format(f"{schema}."))
    await server.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
async def test_missing_column_is_an_error_of_usage(store_url: Callable[[str], str], backend: str) -> None:
    url, app = store_url(backend), fait.App("classes")
    app.include(Counted, Counts)
    async with app.open(url) as system:
        await system.find(Counts, after=await system.publish(Counted(1), stream="count-1"))
        await run(url, "ALTER TABLE {0}counts RENAME COLUMN n TO m")

        with pytest.raises(fait.UsageError, match=r"missing or different.*Nothing was written"):
            await system.find(Counts)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
async def test_missing_table_of_the_log_is_an_error_of_usage(store_url: Callable[[str], str], backend: str) -> None:
    url, app = store_url(backend), fait.App("classes")
    app.include(Counted)
    async with app.open(url, run="elsewhere") as system:
        await system.publish(Counted(1), stream="count-1")
        await run(url, "DROP TABLE {0}fait_snapshots")
        await run(url, "ALTER TABLE {0}fait_tags RENAME TO renamed")

        with pytest.raises(fait.UsageError, match=r"missing or different.*Nothing was written"):
            await system.publish(Counted(1), stream="count-1", tags=["a:1"])
        await system.publish(Counted(2), stream="count-1")
