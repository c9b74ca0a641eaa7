"""`fait schema new-version`: prepares the next version of an event type whose class was changed."""

from typing import Annotated

import typer

from fait._errors import UsageError
from fait._events.event import EventType
from fait._evolution.locks.folder import replace_file
from fait._evolution.locks.history import history
from fait._evolution.locks.lock import Lock
from fait._evolution.locks.locking import parse_target
from fait._evolution.locks.next_version import SourceEdit, edit_version, upcaster_stub
from fait._schema.describe import describe
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import command, print_json, print_line, print_message
from fait._tools.cli.schema_project import LocksOption, SchemaAppOption, open_project

__all__ = ["new_version"]


@command
async def new_version(
    type: Annotated[str, typer.Argument(metavar="TYPE", help="Stored name of the event type.")],
    app: SchemaAppOption = None,
    locks: LocksOption = None,
    write: Annotated[
        bool, typer.Option("--write", help="Change the version in the source file; the upcaster is only printed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how to make a changed event class the next version: its new version, and an upcaster to complete.

    The upcaster is computed from the differences between the class and the newest lock.
    """
    project = open_project(app, locks)
    names = project.registry.names
    declared = project.registry.types.get(names.current(parse_target(type, names.known).type))
    if declared is None:
        raise UsageError(f"{type!r} has no event class, so it has no next version. Nothing was written.")
    lock = _predecessor(declared, history(project.read_locks(), declared))
    edit = _edit(declared, required=write) if lock.version == declared.schema_version else None
    stub = upcaster_stub(declared.name, lock.version, lock.description, describe(declared.cls))
    if write and edit is not None:
        replace_file(edit.file.resolve(), edit.content)
    if as_json:
        print_json(
            {"type": declared.name, "version": lock.version + 1, "edit": _as_json(edit, write), "upcaster": stub}
        )
    else:
        _print(declared, edit, stub, written=write)


def _predecessor(declared: EventType, versions: dict[int, Lock]) -> Lock:
    """Return the lock that the next version follows: of the version of the class, or of the one before a draft."""
    version = declared.schema_version
    for number in (version, version - 1):
        if number in versions:
            return versions[number]
    raise UsageError(
        f"version {version} of {declared.name!r} is a draft: change its fields freely. Nothing was written. When it is "
        f"published, lock it: fait schema lock {declared.name}"
    )


def _edit(declared: EventType, *, required: bool) -> SourceEdit | None:
    """Return the edit of the class. If it is not possible and not required, the reason is printed."""
    try:
        return edit_version(declared)
    except UsageError as error:
        if required:
            raise
        print_message(f"fait: {error}")
        return None


def _as_json(edit: SourceEdit | None, written: bool) -> dict[str, object] | None:
    if edit is None:
        return None
    return {"file": str(edit.file), "line": edit.line, "old": edit.old, "new": edit.new, "written": written}


def _print(declared: EventType, edit: SourceEdit | None, stub: str, *, written: bool) -> None:
    if edit is not None:
        print_line(f"{edit.file}:{edit.line}")
        print_line(f"- {edit.old}")
        print_line(f"+ {edit.new}")
        print_line("")
    for line in stub.split("\n"):
        print_line(line)
    if edit is not None and written:
        print_message(f"{edit.file} was changed. Complete the upcaster, put it below the class, and include it.")
    else:
        print_message("Nothing was written. Complete the upcaster, put it below the class, and include it.")
