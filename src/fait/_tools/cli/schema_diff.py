"""`fait schema diff`: compares two versions of an event type, two lock files, or two JSON Schemas of others."""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import UNSET

from fait._errors import UsageError
from fait._evolution.locks.lock import Lock
from fait._schema.compare import Schema, compare
from fait._schema.describe import describe
from fait._schema.description import canonical_json
from fait._schema.difference import Difference, Verdict, worst_verdict
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import command, print_json, print_message, print_table
from fait._tools.cli.schema_project import LocksOption, Project, SchemaAppOption, open_project

__all__ = ["diff"]


@command
async def diff(
    old: Annotated[str, typer.Argument(metavar="TYPE|OLD.json", help="An event type, or a file with a JSON Schema.")],
    new: Annotated[
        str | None, typer.Argument(metavar="[VERSION|NEW.json]", help="The earlier version, or the other file.")
    ] = None,
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", help="The later version.")] = None,
    direction: Annotated[
        str, typer.Option(metavar="DIRECTION", help="backward, forward or full: which code reads which data.")
    ] = "backward",
    app: SchemaAppOption = None,
    locks: LocksOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changed between two versions, and what it means for a reader.

    TYPE alone compares its newest lock with today's class; TYPE 1 3 compares two versions; OLD.json NEW.json compares
    two files, each a lock or a JSON Schema. A keyword that is not understood counts as incompatible. Exit codes: 0 all
    values are readable, 1 a change needs an upcaster or a declaration, 2 the comparison could not run.
    """
    if direction not in ("backward", "forward", "full"):
        raise UsageError(f"--direction {direction!r} is unknown; choose backward, forward or full")
    if _is_file(old):
        before, after = _read_file(old), _read_file(_given(new, old))
    else:
        before, after = _versions(old, _number(new), version, open_project(app, locks))
    differences = compare(before, after, direction)
    verdict = worst_verdict(differences)
    if as_json:
        print_json({"verdict": verdict, "differences": differences})
    else:
        _print(differences, verdict)
    if verdict is not Verdict.READABLE:
        raise typer.Exit(1)


def _is_file(text: str) -> bool:
    return text.endswith(".json") or "/" in text


def _given(new: str | None, old: str) -> str:
    if new is None:
        raise UsageError(f"{old} is a file: name a second one to compare it with")
    return new


def _number(text: str | None) -> int | None:
    if text is not None and not re.fullmatch("[1-9][0-9]{0,9}", text):
        raise UsageError(f"expected a version, got {text!r}: fait schema diff TYPE 1 3")
    return None if text is None else int(text)


def _read_file(path: str) -> Schema:
    """Return the description of a lock, or the JSON Schema in a file."""
    try:
        content = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])
        return msgspec.convert(content, Lock).description if _is_lock(content) else content
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is neither a lock nor a JSON Schema: {error}") from None


def _is_lock(content: dict[str, Any]) -> bool:
    return {"type", "version", "fingerprint", "description"} <= content.keys()


def _versions(type: str, first: int | None, second: int | None, project: Project) -> tuple[Schema, Schema]:
    """Return two versions; by default, the newest lock and today's class."""
    declared = project.registry.types.get(project.registry.names.current(type))
    known = project.read_locks()
    locked = {
        number: lock.description
        for name in (type, *(() if declared is None else (declared.name, *declared.was)))
        for number, lock in known.get(name, {}).items()
    }
    current = {} if declared is None else {declared.schema_version: describe(declared.cls)}
    if first is None and locked and current:
        return locked[max(locked)], next(iter(current.values()))
    versions = current | locked
    wanted = first, max(versions, default=0) if second is None else second
    if missing := [each for each in wanted if each not in versions]:
        numbers = ", ".join(map(str, sorted(versions))) or "none"
        raise UsageError(f"{type!r} has no version {missing[0] or 'that is locked'}. Versions: {numbers}")
    return versions[wanted[0] or 0], versions[wanted[1]]


def _print(differences: list[Difference], verdict: Verdict) -> None:
    if differences:
        columns = ("path", "change", "verdict", "reader", "explanation", "value that breaks")
        print_table(columns, [_row(each) for each in differences])
    for each in differences:
        if each.verdict is Verdict.UNKNOWN:
            print_message(f"FAIT190 cannot compare this: {each.path}: {each.explanation}")
    print_message(f"verdict: {verdict}" if differences else "no differences")


def _row(difference: Difference) -> tuple[str, ...]:
    reader = "new version" if difference.direction == "backward" else "old version"
    value = "" if difference.value is UNSET else canonical_json(difference.value)
    return difference.path, difference.rule, difference.verdict, reader, difference.explanation, value
