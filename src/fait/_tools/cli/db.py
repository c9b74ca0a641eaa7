"""`fait db`: the tables and functions of a store, step by step: what is there, what is pending, how it is applied."""

from typing import Annotated
from urllib.parse import urlencode

import typer

from fait._errors import UsageError
from fait._store.migrations import MigrationStatus
from fait._store.open import StoreAdmin, open_admin, redacted_url
from fait._tools.cli.opening import JsonOption, StoreOption
from fait._tools.cli.output import command, print_json, print_message, print_table

__all__ = ["db"]

db = typer.Typer(help="Set a store up, and bring its tables and functions up to date.", no_args_is_help=True)


@db.command("init")
@command
async def init(store: StoreOption, as_json: JsonOption = False) -> None:
    """Create a store where there is none; one that exists is left as it is."""
    schema = open_admin(store)
    steps = await schema.migrations()
    if any(each.applied_at for each in steps):
        behind = _pending(steps)
        advice = f"{len(behind)} steps are pending: fait db migrate" if behind else "It is up to date."
        return _print_result(
            schema, [], f"there is a store at {schema.location} already. Nothing was changed. {advice}", as_json
        )
    applied = [each.name for each in await schema.migrate()]
    return _print_result(schema, applied, f"created a store at {schema.location}: {', '.join(applied)}", as_json)


@db.command("migrate")
@command
async def migrate(store: StoreOption, as_json: JsonOption = False) -> None:
    """Apply what is pending to a store that exists: all of it, or nothing."""
    schema = open_admin(store)
    # fault: migrate-creates-store
    if not any(each.applied_at for each in await schema.migrations()):
        raise UsageError(
            f"there is no store at {schema.location}; is the URL right? Nothing was created. To create one: fait db init"
        )
    applied = [each.name for each in await schema.migrate()]
    told = f"applied to {schema.location}: {', '.join(applied)}" if applied else f"{schema.location} is up to date"
    return _print_result(schema, applied, told, as_json)


@db.command("status")
@command
async def status(store: StoreOption, as_json: JsonOption = False) -> None:
    """Show all steps; the exit code is 1 if any is pending. Nothing is changed."""
    schema = open_admin(store)
    steps = await schema.migrations()
    behind = _pending(steps)
    if as_json:
        print_json({"store": redacted_url(store), "up_to_date": not behind, "steps": steps})
    else:
        rows = [(f"{each.number}", each.name, each.checksum, _applied_at(each)) for each in steps]
        print_table(("number", "name", "fingerprint", "applied"), rows)
    if len(behind) == len(steps):
        print_message(f"There is no store at {schema.location} yet. To create one: fait db init")
    elif behind:
        print_message(f"{len(behind)} of {len(steps)} steps are pending. To apply them: fait db migrate")
    if behind:
        raise typer.Exit(1)


@db.command("sql")
@command
async def sql(
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", metavar="URL", envvar="FAIT_STORE", help="Print what is missing in this store."),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Print all of it, for a new schema of this name in PostgreSQL, without connecting."
        ),
    ] = None,
) -> None:
    """Print what init or migrate would run, for somebody else to read and run. Nothing is changed."""
    if schema is not None:
        found = open_admin(f"postgresql:///?{urlencode({'schema': schema})}")
    elif store is not None:
        found = open_admin(store)
    else:
        raise UsageError("say for which store, with --store, or for a new schema in PostgreSQL, with --schema")
    script = await found.script(from_scratch=schema is not None)
    print(script, end="")
    if not script:
        print_message(f"{found.location} is up to date")


def _pending(steps: list[MigrationStatus]) -> list[MigrationStatus]:
    return [each for each in steps if each.applied_at is None]


def _applied_at(step: MigrationStatus) -> str:
    return f"{step.applied_at:%Y-%m-%d %H:%M:%S}Z" if step.applied_at else "pending"


def _print_result(schema: StoreAdmin, applied: list[str], text: str, as_json: bool) -> None:
    if as_json:
        print_json({"store": schema.location, "applied": applied})
    else:
        print(text)
