"""Opening a PostgreSQL database: bring the schema up to date, see which log it is, and watch every new connection."""

import asyncio

from fait._clock import Clock
from fait._errors import UsageError
from fait._store.health import Finding
from fait._store.postgres.admin import migrate, missing_migrations
from fait._store.postgres.connection import Database, PostgresConnection, parse_url
from fait._store.postgres.health import examine
from fait._store.postgres.identity import check_not_moved, read_identity, server_timeline
from fait._store.postgres.ledger import PostgresLedger
from fait._store.postgres.log import PostgresLog

__all__ = ["PostgresStore", "open_store"]


class PostgresStore:
    """Both ports on one schema."""

    def __init__(self, log: PostgresLog, ledger: PostgresLedger, database: Database) -> None:
        self.log = log
        self.ledger = ledger
        self._database = database

    async def examine(self) -> list[Finding]:
        """Check the server, the connection to it, and the log's own rules; its newest part if it is long."""
        return await examine(self._database)

    async def close(self) -> None:
        """Finish what was asked for and close the connections, also when the caller is cancelled meanwhile."""
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        try:
            await self.log.close()
        finally:
            await self._database.close()


async def open_store(url: str, shown: str, clock: Clock, *, create: bool = True) -> PostgresStore:
    """Open a schema of a database, or set it up; with `create=False` only one that is up to date already.

    Options of the URL: `schema` (`public`), `pool` (10), `prepare` (`yes`); the driver takes the others.
    """
    database = await Database.open(parse_url(url, shown))
    try:
        await _bring_up_to_date(database, create)
        async with database.connection() as connection:
            identity, sequence, was = await read_identity(database, connection)
            check_not_moved(was, await server_timeline(database, connection), shown)

        async def greet(connection: PostgresConnection) -> None:
            check_not_moved(was, await server_timeline(database, connection), shown)

        database.on_connect = greet
    except BaseException:
        await database.close()
        raise
    log = PostgresLog(identity, clock, database, f"fait_{sequence}")
    return PostgresStore(log, PostgresLedger(database), database)


async def _bring_up_to_date(database: Database, create: bool) -> None:
    steps = await missing_migrations(database)
    if steps and create:
        await migrate(database)
    elif steps:
        where, first = f"{database.options.redacted_url} (schema {database.schema})", steps[0].number == 1
        raise UsageError(
            f"there is no store at {where}; is the URL right? Nothing was created."
            if first
            else f"the schema of {where} is older than this fait: run fait db migrate. Nothing was changed."
        )
