"""`fait db`: creates the tables and functions of a store, and shows and applies pending migrations."""

from typing import Annotated
from urllib.parse import urlencode

import typer

from fait._errors import UsageError
from fait._store.backend import StoreAdmin
from fait._store.command_hint import command_hint
from fait._store.migrations import MigrationStatus
from fait._store.open import open_admin
from fait._store.store_url import redacted_url
from fait._tools.cli.options import JsonOption, StoreOption
from fait._tools.cli.output import command, print_json, print_message, print_table

__all__ = ["db"]

db = typer.Typer(help="Create a store and migrate its database schema.", no_args_is_help=True)


@db.command("init")
@command
async def init(store: StoreOption, as_json: JsonOption = False) -> None:
    """Create a store. An existing store is not changed."""
    admin = open_admin(store)
    migrations = await admin.migrations()
    if any(each.applied_at for each in migrations):
        pending = _pending(migrations)
        hint = command_hint("db migrate", redacted_url(store))
        state = f"Pending migrations: {len(pending)}. Apply them with: {hint}" if pending else "It is up to date."
        text = f"a store already exists at {admin.location}. Nothing was changed. {state}"
        return _print_result(admin, [], text, as_json)
    applied = [each.name for each in await admin.migrate()]
    return _print_result(admin, applied, f"created a store at {admin.location}: {', '.join(applied)}", as_json)


@db.command("migrate")
@command
async def migrate(store: StoreOption, as_json: JsonOption = False) -> None:
    """Apply the pending migrations of an existing store.

    All of them are applied in one transaction, or none.
    """
    admin = open_admin(store)
    # fault: migrate-creates-store
    if not any(each.applied_at for each in await admin.migrations()):
        raise UsageError(
            f"no store exists at {admin.location}. Nothing was created. Check the URL, or create a store with: "
            f"{command_hint('db init', redacted_url(store))}"
        )
    applied = [each.name for each in await admin.migrate()]
    text = f"applied to {admin.location}: {', '.join(applied)}" if applied else f"{admin.location} is up to date"
    return _print_result(admin, applied, text, as_json)


@db.command("status")
@command
async def status(store: StoreOption, as_json: JsonOption = False) -> None:
    """List applied and pending migrations. Nothing is changed.

    The exit code is 1 if a migration is pending.
    """
    admin = open_admin(store)
    migrations = await admin.migrations()
    pending = _pending(migrations)
    if as_json:
        print_json({"store": redacted_url(store), "up_to_date": not pending, "migrations": migrations})
    else:
        rows = [(f"{each.number}", each.name, each.checksum, _applied_at(each)) for each in migrations]
        print_table(("number", "name", "checksum", "applied"), rows)
    if len(pending) == len(migrations):
        hint = command_hint("db init", redacted_url(store))
        print_message(f"No store exists at {admin.location}. Create one with: {hint}")
    elif pending:
        hint = command_hint("db migrate", redacted_url(store))
        print_message(f"{len(pending)} of {len(migrations)} migrations are pending. Apply them with: {hint}")
    if pending:
        raise typer.Exit(1)


@db.command("sql")
@command
async def sql(
    store: Annotated[
        str | None,
        typer.Option(
            "--store", "-s", metavar="URL", envvar="FAIT_STORE", help="Print the pending migrations of this store."
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Print all migrations for a new PostgreSQL schema of this name, without connecting."
        ),
    ] = None,
) -> None:
    """Print the SQL that init or migrate would run. Nothing is changed.

    Use it where a database administrator reviews and runs all schema changes.
    """
    if schema is not None:
        admin = open_admin(f"postgresql:///?{urlencode({'schema': schema})}")
    elif store is not None:
        admin = open_admin(store)
    else:
        raise UsageError("missing --store URL (an existing or new store) or --schema NAME (a new PostgreSQL schema)")
    script = await admin.script(from_scratch=schema is not None)
    print(script, end="")
    if not script:
        print_message(f"{admin.location} is up to date")


def _pending(migrations: list[MigrationStatus]) -> list[MigrationStatus]:
    return [each for each in migrations if each.applied_at is None]


def _applied_at(migration: MigrationStatus) -> str:
    return f"{migration.applied_at:%Y-%m-%d %H:%M:%S}Z" if migration.applied_at else "pending"


def _print_result(admin: StoreAdmin, applied: list[str], text: str, as_json: bool) -> None:
    if as_json:
        print_json({"store": admin.location, "applied": applied})
    else:
        print(text)
