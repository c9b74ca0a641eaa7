"""`fait schema lock`: writes the lock files of drafts, after which these versions never change."""

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from fait._clock import now
from fait._errors import UsageError
from fait._evolution.check.check_types import check_types
from fait._evolution.locks.lock import Lock, Locks
from fait._evolution.locks.locking import (
    VersionToLock,
    earlier_version,
    locks_with,
    make_locks,
    parse_target,
    version_to_replace,
    versions_to_lock,
)
from fait._tools.cli.options import JsonOption, import_target
from fait._tools.cli.output import command, count_of, print_json, print_message, print_table
from fait._tools.cli.schema_project import LocksOption, Project, SchemaAppOption, open_project, refuse

__all__ = ["lock"]


@command
async def lock(
    types: Annotated[
        list[str] | None, typer.Argument(metavar="[TYPE[@N]]...", help="Event types. Default: all drafts of the app.")
    ] = None,
    app: SchemaAppOption = None,
    locks: LocksOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be locked, and write nothing.")] = False,
    sample: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="JSON file with an event of the one type that is locked; it becomes a sample of the lock. Repeatable.",
        ),
    ] = None,
    earlier_class: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="MODULE:CLASS",
            help="An event class with an earlier version, which the app does not include; for an app whose events had "
            "versions before it had locks. Repeatable.",
        ),
    ] = None,
    replace: Annotated[
        str | None,
        typer.Option(metavar="TYPE@N", help="Replace the newest lock of a type, of which no event was ever stored."),
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason for --replace, which is kept in the lock.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Lock the drafts of an app: write a file for each version of an event type that has none.

    A locked version never changes. Commit the files. The rules for events are checked first, and nothing is written if
    one is violated.
    """
    project = open_project(app, locks)
    existing = project.read_locks()
    earlier = [_earlier(project, existing, each) for each in earlier_class or ()]
    versions = [*earlier, *_chosen(project, existing, types or [], replace, reason)]
    made = _make(versions, existing, [_read_sample(each) for each in sample or ()])
    _check(project, locks_with(existing, made))
    if not dry_run:
        for each in made:
            project.folder.write(each) if replace is None else project.folder.replace(each)
    _print_result(project, made, dry_run=dry_run, as_json=as_json)


def _earlier(project: Project, existing: Locks, target: str) -> VersionToLock:
    module, name = import_target("--class", target, None, example="old_events:OrderPlaced1")
    cls = getattr(module, name, None)
    if not isinstance(cls, type):
        raise UsageError(f"--class: module {module.__name__} has no class {name!r}. Nothing was written.")
    return earlier_version(project.registry, existing, cls)


def _chosen(
    project: Project, existing: Locks, types: list[str], replace: str | None, reason: str
) -> list[VersionToLock]:
    known = {*project.registry.names.known, *existing}
    if replace is None:
        return versions_to_lock(project.registry, existing, [parse_target(each, known) for each in types])
    if types:
        raise UsageError("--replace takes the event type itself: give no other one. Nothing was written.")
    return [version_to_replace(project.registry, existing, parse_target(replace, known), reason)]


def _check(project: Project, locks: Locks) -> None:
    """Refuse to lock if a rule would be violated afterwards: a wrong version would be wrong forever."""
    violations = check_types(project.registry, locks, project.settings.consumers)
    refuse(project.settings, [*project.settings.violations, *violations], "Nothing was written.")


def _make(versions: list[VersionToLock], existing: Locks, written: list[Any]) -> list[Lock]:
    if written and len(versions) != 1:
        raise UsageError(
            f"--sample belongs to one version, but {count_of(len(versions), 'version')} would be locked. Nothing was "
            "written. Name the event type: fait schema lock TYPE --sample FILE"
        )
    return make_locks(versions, existing, today=now().date().isoformat(), written=written)


def _read_sample(file: Path) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--sample {file}: not valid JSON: {error}. Nothing was written.") from None


def _print_result(project: Project, made: list[Lock], *, dry_run: bool, as_json: bool) -> None:
    rows = [(each.type, str(each.version), each.fingerprint, str(project.folder.path_of(each))) for each in made]
    if as_json:
        locked = [dict(zip(_COLUMNS, row, strict=True)) | {"version": int(row[1])} for row in rows]
        return print_json({"locked": locked, "dry_run": dry_run})
    if not made:
        return print_message("There is no draft: nothing was locked.")
    print_table(_COLUMNS, rows)
    return print_message(
        f"{count_of(len(made), 'version')} would be locked. Nothing was written."
        if dry_run
        else f"{count_of(len(made), 'version')} locked. Commit the files: they never change."
    )


_COLUMNS: Final = ("type", "version", "fingerprint", "path")
