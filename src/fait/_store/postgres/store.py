"""Opens a store in a PostgreSQL database: applies migrations, reads the log's identity, and checks new connections."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, cast

from fait._clock import Clock, SystemClock
from fait._errors import StoreUnavailable, UsageError
from fait._store.command_hint import command_hint
from fait._store.ports.store import Finding, OpeningState
from fait._store.ports.tables import Table
from fait._store.postgres import table_sql
from fait._store.postgres.admin import migrate, missing_migrations, read_missing_migrations
from fait._store.postgres.combined import Answered, fetch_combined
from fait._store.postgres.connection import (
    RESPONSE_TIMEOUT_S,
    Database,
    PostgresConnection,
)
from fait._store.postgres.failures import PostgresFailures
from fait._store.postgres.health import examine
from fait._store.postgres.identity import (
    check_complete,
    check_consistent,
    check_not_moved,
    check_sequence,
    read_identity,
    server_timeline,
)
from fait._store.postgres.inbox import PostgresInbox
from fait._store.postgres.leases import PostgresLeases
from fait._store.postgres.log import MAX_POSITION, PostgresLog
from fait._store.postgres.recorder import PostgresRecorder
from fait._store.postgres.registrations import PostgresRegistrations
from fait._store.postgres.snapshots import PostgresSnapshots
from fait._store.postgres.tables import PostgresTables, complete_tables
from fait._store.postgres.url_options import parse_url
from fait._store.registration_rows import from_row, range_from_row

__all__ = ["CLOSE_TIMEOUT_S", "PostgresStore", "open_store"]

CLOSE_TIMEOUT_S: Final = 3.0
"""Timeout for pending appends when the store closes. Then their outcome is unknown to their callers."""


_FACTS: Final = ("applied_migrations", "identity", "server_state", "system_identifier", "incomplete_event")
"""Statements without parameters whose rows opening checks."""


class PostgresStore:
    """All ports in one schema."""

    def __init__(self, log: PostgresLog, database: Database) -> None:
        self.log = log
        self.registrations = PostgresRegistrations(database)
        self.leases = PostgresLeases(database)
        self.failures = PostgresFailures(database)
        self.inbox = PostgresInbox(database)
        self.recorder = PostgresRecorder(database, log)
        self.tables = PostgresTables(database)
        self.snapshots = PostgresSnapshots(database)
        self._database = database

    async def opening_state(self, tables: Sequence[Table]) -> OpeningState:
        """Return what opening an app compares with its declarations, read by one statement."""
        names = [name for table in tables for name in table_sql.create_table(self._database.schema, table)]
        async with self._database.connection(RESPONSE_TIMEOUT_S) as connection:
            rows = await fetch_combined(
                self._database,
                connection,
                {
                    "read_registrations": (None,),
                    "list_ranges": (None,),
                    "head": (MAX_POSITION,),
                    "expired_position": (),
                    "existing_relations": (self._database.schema, names),
                },
            )
        [(last_position,)], [(expired_position,)] = rows["head"], rows["expired_position"]
        return OpeningState(
            [from_row(row) for row in rows["read_registrations"]],
            [range_from_row(row) for row in rows["list_ranges"]],
            last_position,
            expired_position,
            complete_tables(self._database.schema, tables, rows["existing_relations"]),
        )

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
        if not (facts := await _read_facts(database)):
            await _bring_up_to_date(database, create)
        async with database.connection(RESPONSE_TIMEOUT_S) as acquired:
            connection = cast("PostgresConnection", Answered(database, acquired, facts))
            stored = await read_identity(database, connection)
            check_not_moved(stored.confirmed, await server_timeline(database, connection), redacted_url)
            check_consistent(stored, redacted_url)
            check_sequence(stored, redacted_url)
            await check_complete(database, connection)

        async def check_connection(connection: PostgresConnection) -> None:
            check_not_moved(stored.confirmed, await server_timeline(database, connection), redacted_url)

        database.on_connect = check_connection
        database.epoch_id = stored.identity.epoch_id
        database.clock = None if isinstance(clock, SystemClock) else clock
    except BaseException:
        await database.close()
        raise
    log = PostgresLog(stored.identity, clock, database, f"fait_{stored.sequence}", stored.last_position)
    return PostgresStore(log, database)


async def _read_facts(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of all statements that opening needs, read by one; {} if the store cannot be used as it is."""
    statements = {"has_migrations": (database.schema,), "hidden_tables": (database.schema,)}
    try:
        async with database.connection(RESPONSE_TIMEOUT_S) as connection:
            facts = await fetch_combined(database, connection, dict.fromkeys(_FACTS, ()) | statements)
            answered = cast("PostgresConnection", Answered(database, connection, facts))
            # fault: pending-migrations-ignored
            return {} if await read_missing_migrations(database, answered) else facts
    except (StoreUnavailable, UsageError):  # a table or a privilege is missing: the statements one by one tell which
        return {}


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
