"""Our tables and functions in a database: what is there, what is missing, and how it is brought up to date.

All steps that are missing are applied in one transaction, under a lock, so that two deploys at once are one.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from fait._errors import StoreUnavailable, UsageError
from fait._store.adoption import Adoption
from fait._store.migrations import Migration, MigrationStatus, load_migrations, migration_statuses, pending_migrations
from fait._store.postgres import identity
from fait._store.postgres.connection import (
    ConnectionOptions,
    Database,
    InsufficientPrivilege,
    PostgresConnection,
    parse_url,
)
from fait._store.postgres.identifiers import in_schema, literal, statements

__all__ = ["PostgresAdmin", "applied_migrations", "migrate", "missing_migrations"]

_PACKAGE = "fait._store.postgres"

DROP_TIMEOUT_S: Final = 20
"""How long to wait for those who use a schema that is to be removed."""


class PostgresAdmin:
    """The schema that a URL names; it connects for each call, and only for as long."""

    def __init__(self, url: str, shown: str) -> None:
        self._address = parse_url(url, shown)
        self.location = _location(self._address)

    async def migrations(self) -> list[MigrationStatus]:
        """All steps, applied or pending. Nothing is changed."""
        async with _opened(self._address) as database, database.connection() as connection:
            return migration_statuses(
                load_migrations(_PACKAGE), await applied_migrations(database, connection), self.location
            )

    async def migrate(self) -> list[Migration]:
        """Apply what is pending, all of it or nothing; a schema that is not there is created."""
        async with _opened(self._address) as database:
            return await migrate(database)

    async def script(self, *, from_scratch: bool) -> str:
        """SQL that does what `migrate` does, "" if nothing is pending.

        With `whole`, all of it, for a new schema; no server is asked.
        """
        if from_scratch:
            return script(self._address.schema, load_migrations(_PACKAGE), with_schema=self._address.schema != "public")
        async with _opened(self._address) as database:
            steps = await missing_migrations(database)
            [(found,)] = await database.fetch("has_schema", database.schema)
        return script(self._address.schema, steps, with_schema=not found) if steps else ""

    async def adopt(self, *, in_place: bool, dry_run: bool) -> Adoption:
        """Begin a new epoch."""
        async with _opened(self._address) as database:
            if await missing_migrations(database):
                raise UsageError(f"{self.location} has no log that is up to date: fait db status. Nothing was changed.")
            return await identity.adopt(database, in_place=in_place, dry_run=dry_run)

    async def drop(self) -> None:
        """Remove the schema with everything in it; waits a while for those who use it."""
        statement = statements(self._address.schema)["drop_schema"]
        try:
            async with _opened(self._address) as database, database.transaction() as connection:
                await connection.execute(f"SET LOCAL lock_timeout = '{DROP_TIMEOUT_S}s'")
                await connection.execute(statement)
        except StoreUnavailable as problem:
            raise StoreUnavailable(f"{problem} {self.location} is still there. To remove it: {statement}") from problem


@asynccontextmanager
async def _opened(address: ConnectionOptions) -> AsyncGenerator[Database]:
    database = await Database.open(address)
    try:
        yield database
    finally:
        await database.close()


def _location(address: ConnectionOptions) -> str:
    return f"{address.redacted_url} (schema {address.schema})"


async def missing_migrations(database: Database) -> list[Migration]:
    """The steps that are still to be applied; all of them when there is no log yet."""
    async with database.connection() as connection:
        return await _missing_migrations(database, connection)


async def _missing_migrations(database: Database, connection: PostgresConnection) -> list[Migration]:
    return pending_migrations(
        load_migrations(_PACKAGE), await applied_migrations(database, connection), _location(database.options)
    )


async def applied_migrations(database: Database, connection: PostgresConnection) -> list[MigrationStatus]:
    """The steps that were applied; none where nobody set up a log."""
    if not await connection.fetchval(database.sql["has_migrations"], database.schema):
        return []
    return [MigrationStatus(*row) for row in await connection.fetch(database.sql["applied_migrations"])]


async def migrate(database: Database) -> list[Migration]:
    """Apply what is missing, all of it or nothing; return it."""
    try:
        async with database.transaction() as connection:
            # Above it, what another migration did while this one waited for the lock could not be seen.
            await connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            await connection.fetch(database.sql["lock_schema"])
            steps = await _missing_migrations(database, connection)
            if steps:
                await _apply(database, connection, steps)
            return steps
    except StoreUnavailable as problem:
        if not isinstance(problem.__cause__, InsufficientPrivilege):
            raise
        raise UsageError(
            f"the schema {database.schema!r} could not be brought up to date: {problem} A role that may create tables "
            "there can do it: fait db migrate, or run what fait db sql prints."
        ) from problem


async def _apply(database: Database, connection: PostgresConnection, steps: Sequence[Migration]) -> None:
    if not await connection.fetchval(database.sql["has_schema"], database.schema):
        await connection.execute(database.sql["create_schema"])
    if steps[0].number == 1:
        await connection.execute(database.sql["create_migrations"])
    for step in steps:
        await connection.execute(in_schema(step.sql, database.schema))
        await connection.fetch(database.sql["insert_migration"], *_migration_row(step))
    await connection.execute(database.sql["create_log"])


def _migration_row(step: Migration) -> tuple[Any, ...]:
    return (step.number, step.name, step.checksum, step.compatible_from)


def script(schema: str, steps: Sequence[Migration], *, with_schema: bool) -> str:
    """SQL that does what `migrate` does, to be read and run by somebody else."""
    sql = statements(schema)
    parts = ["BEGIN ISOLATION LEVEL READ COMMITTED;", sql["lock_schema"]]
    if with_schema:
        parts.append(sql["create_schema"])
    if steps[0].number == 1:
        parts.append(sql["create_migrations"])
    for step in steps:
        parts += [in_schema(step.sql, schema).strip(), _with_values(sql["insert_migration"], _migration_row(step))]
    return "\n\n".join([*parts, sql["create_log"], "COMMIT;"]) + "\n"


def _with_values(sql: str, values: Sequence[Any]) -> str:
    """A statement with its parameters filled in, for a script."""
    texts = [literal(each) if isinstance(each, str) else str(each) for each in values]
    return re.sub(r"\$(\d)", lambda found: texts[int(found[1]) - 1], sql)
