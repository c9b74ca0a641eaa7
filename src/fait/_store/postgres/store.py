"""Opens a store in a PostgreSQL database: applies migrations, reads the log's identity, and checks new connections."""

import asyncio
from contextlib import suppress
from typing import Final

from fait._clock import Clock
from fait._errors import UsageError
from fait._store.command_hint import command_hint
from fait._store.ports.store import Finding
from fait._store.postgres.admin import migrate, missing_migrations
from fait._store.postgres.connection import RESPONSE_TIMEOUT_S, Database, PostgresConnection
from fait._store.postgres.health import examine
from fait._store.postgres.identity import (
    check_complete,
    check_consistent,
    check_not_moved,
    check_sequence,
    read_identity,
    server_timeline,
)
from fait._store.postgres.leases import PostgresLeases
from fait._store.postgres.log import PostgresLog
from fait._store.postgres.recorder import PostgresRecorder
from fait._store.postgres.registrations import PostgresRegistrations
from fait._store.postgres.snapshots import PostgresSnapshots
from fait._store.postgres.tables import PostgresTables
from fait._store.postgres.url_options import parse_url

__all__ = ["CLOSE_TIMEOUT_S", "PostgresStore", "open_store"]

CLOSE_TIMEOUT_S: Final = 3.0
"""Timeout for pending appends when the store closes. Then their outcome is unknown to their callers."""


class PostgresStore:
    """All ports in one schema."""

    def __init__(self, log: PostgresLog, database: Database) -> None:
        self.log = log
        self.registrations = PostgresRegistrations(database)
        self.leases = PostgresLeases(database)
        self.recorder = PostgresRecorder(database, log)
        self.tables = PostgresTables(database)
        self.snapshots = PostgresSnapshots(database)
        self._database = database

    async def examine(self) -> list[Finding]:
        """Check the server, the connection and the log; of a long log only the newest events."""
        return await examine(self._database)

    async def close(self) -> None:
        """Finish pending appends, and close the connections, even if the caller is canceled during this call."""
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        try:
            with suppress(TimeoutError):  # the server does not answer
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.log.close()
        finally:
            await self._database.close()


async def open_store(url: str, redacted_url: str, clock: Clock, *, create: bool = True) -> PostgresStore:
    """Open the store in a schema of a database.

    Args:
        url: a URL for asyncpg, with fait's own options: `schema` (default `public`), `pool` (10) and `prepare`
            (`yes`).
        redacted_url: the URL without a password, for messages.
        clock: gives the time of events; the server's clock is used in place of the system clock.
        create: whether to create the schema, or to apply pending migrations.

    Raises:
        UsageError: the schema is missing or out of date, and `create` is false.
        StoreUnavailable: the server cannot be used, or the log was moved.
    """
    database = await Database.open(parse_url(url, redacted_url))
    try:
        await _bring_up_to_date(database, create)
        async with database.connection(RESPONSE_TIMEOUT_S) as connection:
            stored = await read_identity(database, connection)
            check_not_moved(stored.confirmed, await server_timeline(database, connection), redacted_url)
            check_consistent(stored, redacted_url)
            check_sequence(stored, redacted_url)
            await check_complete(database, connection)

        async def check_connection(connection: PostgresConnection) -> None:
            check_not_moved(stored.confirmed, await server_timeline(database, connection), redacted_url)

        database.on_connect = check_connection
        database.epoch_id = stored.identity.epoch_id
    except BaseException:
        await database.close()
        raise
    log = PostgresLog(stored.identity, clock, database, f"fait_{stored.sequence}", stored.last_position)
    return PostgresStore(log, database)


async def _bring_up_to_date(database: Database, create: bool) -> None:
    migrations = await missing_migrations(database)
    if migrations and create:
        await migrate(database)
    elif migrations:
        url = database.options.redacted_url
        location = f"{url} (schema {database.schema})"
        raise UsageError(
            f"there is no store at {location}. Nothing was created. Check the URL, or create the store: "
            f"{command_hint('db init', url)}"
            if migrations[0].number == 1
            else f"the database schema of {location} is older than this version of fait. Nothing was changed. Update "
            f"it: {command_hint('db migrate', url)}"
        )
