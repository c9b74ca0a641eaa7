"""`fait design`: writes the design document of an app or of an advisor's answer, and compares it with the code."""

from pathlib import Path
from typing import Annotated

import typer

from fait._app import declarations_of
from fait._clock import now
from fait._design.advice import read_advice
from fait._design.catalog import Catalog, build_catalog
from fait._design.discrepancies import Discrepancy, compare_document
from fait._design.render import render_document
from fait._errors import DeclarationError, UsageError
from fait._evolution.locks.folder import LockFolder
from fait._evolution.locks.settings import read_settings
from fait._tools.cli.design_file import ForceOption, existing_document, read_text, write_text
from fait._tools.cli.options import JsonOption, load_app
from fait._tools.cli.output import CommandFailed, command, count_of, print_json, print_line, print_message
from fait._tools.cli.schema_project import LocksOption, SchemaAppOption, refuse

__all__ = ["design", "project_catalog"]

design = typer.Typer(
    help="Write the design document of an app or of the advisor's answer, and compare it with the code.",
    invoke_without_command=True,
    no_args_is_help=False,
)

AdviceOption = Annotated[
    Path | None, typer.Option("--advice", metavar="FILE", help="Answer of the advisor, as JSON; - is stdin.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FILE", help="File to write. Text outside of its markers is kept. Default: print."
    ),
]
SystemOption = Annotated[
    str | None, typer.Option("--system", metavar="NAME", help="Name of the system. Default: the name of the app.")
]


@design.callback()
@command
async def write(
    context: typer.Context,
    app: SchemaAppOption = None,
    advice: AdviceOption = None,
    locks: LocksOption = None,
    system: SystemOption = None,
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the design document: pattern choice, event catalog, schemas, guarantees, versioning, tradeoffs.

    It is written from an app, from an advisor's answer, or from both. Without an app, it is a plan. With --json, print
    the event types, producers and consumers as data instead.
    """
    if context.invoked_subcommand is not None:
        return None
    answer = None if advice is None else read_advice(read_text(advice).encode(), str(advice))
    catalog = project_catalog(app, locks, required=answer is None)
    if as_json:
        return print_json({"catalog": catalog, "advice": answer})
    existing = None if out is None else existing_document(out, force=force)
    text = render_document(catalog, answer, existing, system=system)
    if out is None:
        return _print_text(text)
    write_text(out, text)
    return print_message(f"{out} written: {count_of(len(catalog.events) if catalog else 0, 'event type')}")


def _print_text(text: str) -> None:
    for line in text.splitlines():
        print_line(line)


@design.command("check")
@command
async def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The committed document.")],
    app: SchemaAppOption = None,
    locks: LocksOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a committed design document with the code, both ways.

    Exit codes: 0 they agree, 1 they do not, 2 the comparison could not run.
    """
    catalog = project_catalog(app, locks, required=True)
    assert catalog is not None
    again = " ".join(["fait design", *(["--app", app] if app else []), *(["--locks", str(locks)] if locks else [])])
    found = compare_document(read_text(file), str(file), catalog, f"{again} --out {file}")
    if as_json:
        print_json({"clean": not found, "discrepancies": found})
    else:
        _print(found)
    print_message("1 discrepancy" if len(found) == 1 else f"{len(found)} discrepancies")
    if found:
        raise typer.Exit(1)


def _print(found: list[Discrepancy]) -> None:
    for each in found:
        print_line(f"{each.where}: {each.kind}: {each.what}")
        print_line(f"  {each.fix}")


def project_catalog(app: str | None, locks: Path | None, *, required: bool) -> Catalog | None:
    """Return the catalog of the app of the project; None if none is named and it is not required.

    Args:
        app: the app as `module:name`; None: that of the settings.
        locks: the folder of the locks; None: that of the settings.
        required: whether an app must be named.

    Raises:
        UsageError: no app is named, it cannot be imported, or its declarations, locks or settings are wrong.
    """
    settings = read_settings(Path.cwd(), today=now().date())
    target = app or settings.app
    if not target and not required:
        return None
    if not target:
        raise UsageError(
            "there is nothing to write or compare: give --app module:name, or --advice FILE, or set the app in "
            'pyproject.toml, in [tool.fait]: app = "shop.app:shop"'
        )
    folder = LockFolder(locks or settings.locks)
    try:
        known, violations = folder.read() if folder.exists else (None, [])
        refuse(settings, violations, "Nothing was written.")
        declarations = declarations_of(load_app(target, None if app else settings.folder))
        return build_catalog(declarations, settings, known)
    except (CommandFailed, DeclarationError) as error:
        raise UsageError(str(error)) from None
