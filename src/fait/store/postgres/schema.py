"""Our tables and functions in a database: what is there, what is missing, and how it is brought up to date.

All steps that are missing are applied in one transaction, under a lock, so that two deploys at once are one.
"""

from fait.errors import StoreUnavailable, UsageError
from fait.store.migrations import Migration, load, pending
from fait.store.postgres.connection import Connection, Database
from fait.store.postgres.names import in_schema, quote

__all__ = ["migrate", "missing", "script"]

_PACKAGE = "fait.store.postgres"


async def missing(database: Database) -> list[Migration]:
    """The steps that are still to be applied; all of them when there is no log yet."""
    async with database.connection() as connection:
        return await _missing(database, connection)


async def _missing(database: Database, connection: Connection) -> list[Migration]:
    known, applied = load(_PACKAGE), dict[int, str]()
    if await connection.fetchval(database.sql["has_migrations"], database.schema):
        applied = {row[0]: row[1] for row in await connection.fetch(database.sql["applied_migrations"])}
    return pending(known, applied, f"{database.address.shown} (schema {database.schema})")


async def migrate(database: Database) -> list[Migration]:
    """Apply what is missing, all of it or nothing; return it."""
    try:
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"fait {database.schema}")
            steps = await _missing(database, connection)
            if steps:
                await _prepare(database, connection)
            for step in steps:
                await connection.execute(in_schema(step.sql, database.schema))
                values = (step.number, step.name, step.fingerprint)
                await connection.execute(database.sql["insert_migration"], *values)
            return steps
    except StoreUnavailable as problem:
        raise UsageError(
            f"the schema {database.schema!r} could not be brought up to date: {problem} A role that may create tables "
            "there can do it: fait db migrate, or run what fait db sql prints."
        ) from problem


async def _prepare(database: Database, connection: Connection) -> None:
    found = await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", database.schema)
    if not found:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(database.schema)}")
    if not await connection.fetchval(database.sql["has_migrations"], database.schema):
        await connection.execute(database.sql["create_migrations"])


def script(database_schema: str, steps: list[Migration] | None = None) -> str:
    """SQL that does what `migrate` does, to be read and run by somebody else; all steps unless some are given."""
    from fait.store.postgres.names import statements

    sql = statements(database_schema)
    lines = [
        "BEGIN;",
        f"CREATE SCHEMA IF NOT EXISTS {quote(database_schema)};",
        sql["create_migrations"],
    ]
    for step in load(_PACKAGE) if steps is None else steps:
        lines.append(in_schema(step.sql, database_schema).rstrip())
        lines.append(
            f"INSERT INTO {quote(database_schema)}.fait_migrations (number, name, fingerprint) "  # noqa: S608
            f"VALUES ({step.number}, '{step.name}', '{step.fingerprint}');"
        )
    return "\n\n".join([*lines, "COMMIT;"]) + "\n"
