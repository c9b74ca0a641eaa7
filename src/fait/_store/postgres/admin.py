"""Manages the tables and functions of a store: lists and applies migrations, adopts a log, and removes a schema.

All pending migrations are applied in one transaction and under a lock, so concurrent deploys do not conflict.
"""

import re
import shlex
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from fait._errors import StoreUnavailable, UsageError
from fait._store.adoption import Adoption
from fait._store.command_hint import command_hint
from fait._store.migrations import Migration, MigrationStatus, load_migrations, migration_statuses, pending_migrations
from fait._store.postgres import identity
from fait._store.postgres.connection import RESPONSE_TIMEOUT_S, Database, InsufficientPrivilege, PostgresConnection
from fait._store.postgres.identifiers import in_schema, literal, quote, statements
from fait._store.postgres.url_options import ConnectionOptions, parse_url

__all__ = ["PostgresAdmin", "applied_migrations", "migrate", "missing_migrations", "read_missing_migrations"]

_PACKAGE = "fait._store.postgres"

DROP_TIMEOUT_S: Final = 20
"""Timeout for each lock that another transaction holds on a schema that is dropped."""


class PostgresAdmin:
    """Administration of the schema that a URL names. Each method opens a connection and closes it."""

    def __init__(self, url: str, redacted_url: str) -> None:
        self._options = parse_url(url, redacted_url)
        self.location = _location(self._options)

    async def migrations(self) -> list[MigrationStatus]:
        """Return all migrations, applied and pending. Changes nothing."""
        async with _opened(self._options) as database, database.connection(RESPONSE_TIMEOUT_S) as connection:
            return migration_statuses(
                load_migrations(_PACKAGE), await applied_migrations(database, connection), self.location
            )

    async def migrate(self) -> list[Migration]:
        """Apply all pending migrations, or none if one fails, and return them. Creates the schema if it is missing."""
        async with _opened(self._options) as database:
            return await migrate(database)

    async def script(self, *, from_scratch: bool) -> str:
        """Return a SQL script that does the same as `migrate`; "" if nothing is pending.

        Args:
            from_scratch: return the script for a new schema, without connecting to the server.
        """
        if from_scratch:
            migrations = load_migrations(_PACKAGE)
            return script(self._options.schema, migrations, create_schema=self._options.schema != "public")
        async with _opened(self._options) as database:
            migrations = await missing_migrations(database)
            [(has_schema,)] = await database.fetch("has_schema", database.schema)
        return script(self._options.schema, migrations, create_schema=not has_schema) if migrations else ""

    async def adopt(self, *, in_place: bool, dry_run: bool) -> Adoption:
        """Start a new epoch of the log in its current cluster and timeline."""
        async with _opened(self._options) as database:
            if await missing_migrations(database):
                raise UsageError(
                    f"{self.location} has no store, or a store with pending migrations. Nothing was changed. See: "
                    f"{command_hint('db status', self._options.redacted_url)}"
                )
            return await identity.adopt(database, in_place=in_place, dry_run=dry_run)

    async def backup(self, file: str, on_progress: Callable[[int, int], None]) -> int:
        """Refuse, and name pg_dump, which copies a schema."""
        schema = quote(self._options.schema)
        raise UsageError(
            "fait backup copies SQLite stores only. Nothing was written. Use pg_dump: pg_dump --format=custom "
            f"--schema={shlex.quote(schema)} --file={shlex.quote(file)} URL"
        )

    async def drop(self) -> None:
        """Drop the schema with everything in it.

        Waits up to `DROP_TIMEOUT_S` for each lock that another transaction holds.
        """
        statement = statements(self._options.schema)["drop_schema"]
        try:
            async with _opened(self._options) as database, database.transaction() as connection:
                await connection.execute(f"SET LOCAL lock_timeout = '{DROP_TIMEOUT_S}s'")
                await connection.execute(statement)
        except StoreUnavailable as error:
            advice = f"{self.location} was not dropped. To drop it, run: {statement}"
            raise StoreUnavailable(f"{error.reason} {advice}") from error


@asynccontextmanager
async def _opened(options: ConnectionOptions) -> AsyncGenerator[Database]:
    database = await Database.open(options)
    try:
        yield database
    finally:
        await database.close()


def _location(options: ConnectionOptions) -> str:
    return f"{options.redacted_url} (schema {options.schema})"


async def missing_migrations(database: Database) -> list[Migration]:
    """Return the pending migrations; all of them if there is no store yet."""
    async with database.connection(RESPONSE_TIMEOUT_S) as connection:
        return await read_missing_migrations(database, connection)


async def read_missing_migrations(database: Database, connection: PostgresConnection) -> list[Migration]:
    """Return the pending migrations, read on a connection."""
    return pending_migrations(
        load_migrations(_PACKAGE), await applied_migrations(database, connection), _location(database.options)
    )


async def applied_migrations(database: Database, connection: PostgresConnection) -> list[MigrationStatus]:
    """Return the applied migrations; none if there is no store yet."""
    if not await connection.fetchval(database.sql["has_migrations"], database.schema):
        return []
    return [MigrationStatus(*row) for row in await connection.fetch(database.sql["applied_migrations"])]


async def migrate(database: Database) -> list[Migration]:
    """Apply all pending migrations, or none if one fails, and return them."""
    try:
        async with database.transaction() as connection:
            # At other levels, the snapshot could be older than a migration that held the lock before.
            await connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            await connection.fetch(database.sql["lock_schema"])
            migrations = await read_missing_migrations(database, connection)
            if migrations:
                await _apply(database, connection, migrations)
            return migrations
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        raise UsageError(
            f"failed to migrate the schema {database.schema!r}: {error} As a role that may create tables "
            f"there, run {command_hint('db migrate', database.options.redacted_url)}, or run the script that "
            f"{command_hint('db sql', database.options.redacted_url)} prints."
        ) from error


async def _apply(database: Database, connection: PostgresConnection, migrations: Sequence[Migration]) -> None:
    if not await connection.fetchval(database.sql["has_schema"], database.schema):
        await connection.execute(database.sql["create_schema"])
    if migrations[0].number == 1:
        await connection.execute(database.sql["create_migrations"])
    for migration in migrations:
        await connection.execute(in_schema(migration.sql, database.schema))
        await connection.fetch(database.sql["insert_migration"], *_migration_row(migration))
    await connection.execute(database.sql["create_log"])


def _migration_row(migration: Migration) -> tuple[Any, ...]:
    return (migration.number, migration.name, migration.checksum, migration.compatible_from)


def script(schema: str, migrations: Sequence[Migration], *, create_schema: bool) -> str:
    """Return a SQL script that applies migrations as `migrate` does, for a database administrator."""
    sql = statements(schema)
    parts = ["BEGIN ISOLATION LEVEL READ COMMITTED;", sql["lock_schema"]]
    if create_schema:
        parts.append(sql["create_schema"])
    if migrations[0].number == 1:
        parts.append(sql["create_migrations"])
    for migration in migrations:
        row = _migration_row(migration)
        parts += [in_schema(migration.sql, schema).strip(), _with_values(sql["insert_migration"], row)]
    return "\n\n".join([*parts, sql["create_log"], "COMMIT;"]) + "\n"


def _with_values(sql: str, values: Sequence[Any]) -> str:
    """Return a statement with its parameters replaced by literals, for a script."""
    literals = [literal(value) if isinstance(value, str) else str(value) for value in values]
    # The name of the schema is quoted, and may contain $1.
    return re.sub(r'"[^"]*"|\$(\d)', lambda match: literals[int(match[1]) - 1] if match[1] else match[0], sql)
