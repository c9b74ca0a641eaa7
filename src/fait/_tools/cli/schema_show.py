"""`fait schema show`: shows a version of an event type: its fields, samples, and how its events are read today."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from msgspec import UNSET, Struct

from fait._errors import UndecodableEvent, UsageError
from fait._events.event import EventType
from fait._events.registry import Registry
from fait._evolution.locks.history import history, lock_state
from fait._evolution.locks.lock import Lock, Locks
from fait._evolution.locks.locking import Target, parse_target
from fait._evolution.locks.members import member_paths
from fait._evolution.locks.wording import type_in_words
from fait._schema.describe import describe
from fait._schema.description import Description, Member, canonical_json
from fait._schema.samples import samples
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import command, print_fields, print_json, print_line, print_table
from fait._tools.cli.schema_project import LocksOption, Project, SchemaAppOption, open_project

__all__ = ["show"]


class Field(Struct, frozen=True, omit_defaults=True):
    """A field of a version.

    Attributes:
        path: its path, as in `fait.renamed`.
        type: its type in words.
        since: the version since which it is there.
        required: whether an event needs it.
        default: the value of an absent field, as JSON; UNSET if there is none or it is computed.
    """

    path: str
    type: str
    since: int
    required: bool
    default: Any = UNSET


class ShownVersion(Struct, frozen=True):
    """What the command shows.

    Attributes:
        type: stored name of the event type.
        version: its schema version.
        state: `locked`; `changed` if the class differs from its lock; `draft`; or `not locked`, if there is
            no folder of locks.
        locked_on: the day on which it was locked; empty for a draft.
        fingerprint: the fingerprint of the version.
        fields: its fields.
        reserved: paths of fields that must not come back with another meaning.
        samples: events of this version.
        path: how events of this version are read today, step by step.
    """

    type: str
    version: int
    state: str
    locked_on: str
    fingerprint: str
    fields: list[Field]
    reserved: tuple[str, ...]
    samples: tuple[Any, ...]
    path: list[str]


@command
async def show(
    type: Annotated[
        str, typer.Argument(metavar="TYPE[@N]", help="Event type, and a version; default: the current one.")
    ],
    app: SchemaAppOption = None,
    locks: LocksOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a version of an event type: fields, types, limits and defaults, samples, and how it is read today."""
    project = open_project(app, locks)
    known = project.read_locks()
    target = parse_target(type, {*project.registry.names.known, *known})
    shown = _version(project, known, target)
    if as_json:
        print_json(shown)
    else:
        _print(shown)


def _version(project: Project, locks: Locks, target: Target) -> ShownVersion:
    declared = project.registry.types.get(project.registry.names.current(target.type))
    versions = locks.get(target.type, {}) if declared is None else history(locks, declared)
    number = target.version or (declared.schema_version if declared else max(versions, default=0))
    lock = versions.get(number)
    current = describe(declared.cls) if declared and declared.schema_version == number else None
    description = lock.description if lock else current
    if description is None:
        raise UsageError(f"version {number} of {target.type!r} has no lock, and it is not the version of a class.")
    return ShownVersion(
        type=target.type,
        version=number,
        state=lock_state(project.folder.exists, lock, current),
        locked_on=lock.locked_on if lock else "",
        fingerprint=description.fingerprint,
        fields=list(_fields(description, number, versions)),
        reserved=lock.reserved if lock else (),
        samples=lock.samples if lock else tuple(samples(description, 0, count=2)),
        path=_path(project.registry, target.type, number),
    )


def _fields(description: Description, number: int, versions: Mapping[int, Lock]) -> list[Field]:
    earlier = [
        (each, member_paths(versions[each].description)) for each in sorted(versions, reverse=True) if each < number
    ]
    return [
        Field(path, type_in_words(each.type), _since(path, number, earlier), each.required, each.default)
        for path, each in member_paths(description).items()
    ]


def _since(path: str, number: int, earlier: list[tuple[int, dict[str, Member]]]) -> int:
    for version, members in earlier:
        if path not in members:
            break
        number = version
    return number


def _path(registry: Registry, name: str, version: int) -> list[str]:
    """Return the steps by which events of a version are read today."""
    try:
        conversion = registry.conversion(name, version)
    except UndecodableEvent as error:
        return [f"cannot be read: {error}"]
    steps = [
        f"{each.name} {each.from_version} -> {each.target[0]} {each.target[1]}: {each.source_location}"
        for each in conversion.steps
        if each.target is not None
    ]
    if conversion.split is not None:
        into = ", ".join(conversion.split.into or ()) or "no event"
        return [*steps, f"{conversion.split.name} {conversion.split.from_version} -> {into}"]
    return [*steps, _end(conversion.declared)]


def _end(declared: EventType | None) -> str:
    assert declared is not None
    return f"{declared.cls.__qualname__}, version {declared.schema_version}: {declared.source_location}"


def _print(shown: ShownVersion) -> None:
    facts = {"type": shown.type, "version": str(shown.version), "state": shown.state, "locked on": shown.locked_on}
    facts |= {"fingerprint": shown.fingerprint, "reserved": ", ".join(shown.reserved)}
    print_fields({name: value for name, value in facts.items() if value})
    print_line("")
    print_table(
        ("field", "type", "required", "default", "since"),
        [(each.path, each.type, _words(each.required), _default(each), f"v{each.since}") for each in shown.fields],
    )
    print_line("")
    print_line("Samples:")
    for each in shown.samples:
        print_line(f"  {canonical_json(each)}")
    print_line("Read today by:")
    for step in shown.path:
        print_line(f"  {step}")


def _words(required: bool) -> str:
    return "yes" if required else "no"


def _default(field: Field) -> str:
    return "" if field.default is UNSET else canonical_json(field.default)
