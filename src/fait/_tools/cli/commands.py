"""The `fait` command with all its subcommands."""

from importlib.metadata import version
from typing import Annotated

import typer

from fait._tools.cli import (
    advise,
    backup,
    browse,
    demo,
    dev,
    doctor,
    new,
    pause,
    rebuild,
    run,
    state,
    status,
    transfer,
    verify,
)
from fait._tools.cli.broker import broker
from fait._tools.cli.db import db
from fait._tools.cli.definition import definition
from fait._tools.cli.design import design
from fait._tools.cli.log import log
from fait._tools.cli.parked import parked, skip
from fait._tools.cli.rewind import rewind
from fait._tools.cli.schema import schema

__all__ = ["fait"]

fait = typer.Typer(
    name="fait",
    help="Import, export and inspect the events of a store, check its health, and run workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(requested: bool) -> None:
    if requested:
        print(f"fait {version('fait')}")
        raise typer.Exit


@fait.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options that precede a command."""


fait.command("new")(new.new)
fait.command("dev")(dev.dev)
fait.command("import")(transfer.import_file)
fait.command("export")(transfer.export_file)
fait.command("streams")(browse.streams)
fait.command("stream")(browse.stream)
fait.command("events")(browse.events)
fait.command("tail")(browse.tail)
fait.command("state")(state.state)
fait.command("status")(status.status)
fait.command("doctor")(doctor.doctor)
fait.command("backup")(backup.backup)
fait.command("verify-store")(verify.verify_store)
fait.command("run")(run.run)
fait.command("rebuild")(rebuild.rebuild)
fait.command("pause")(pause.pause)
fait.command("resume")(pause.resume)
fait.command("skip")(skip)
fait.command("rewind")(rewind)
fait.command("actions")(pause.actions)
fait.command("advise")(advise.advise)
fait.command("demo")(demo.demo)
fait.add_typer(parked, name="parked")
fait.add_typer(definition, name="definition")
fait.add_typer(db, name="db")
fait.add_typer(broker, name="broker")
fait.add_typer(log, name="log")
fait.add_typer(schema, name="schema")
fait.add_typer(design, name="design")
