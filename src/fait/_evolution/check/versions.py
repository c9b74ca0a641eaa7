"""The rules for the versions of one event type: what was published is unchanged, complete and still read."""

from collections.abc import Iterator, Mapping

from msgspec import UNSET

from fait._events.event import EventType
from fait._events.registry import Registry
from fait._evolution.check.hops import is_readable
from fait._evolution.check.type_history import TypeHistory, place_of
from fait._evolution.locks.members import member_paths
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.violation import RuleViolation
from fait._schema.compare import compare
from fait._schema.description import Description, Member

__all__ = ["check_versions", "field_path"]


def check_versions(history: TypeHistory, registry: Registry, *, drafts_allowed: bool) -> list[RuleViolation]:
    """Return the violations of one history, without those of its upcasters."""
    if history.declared is None and history.name not in registry.names.known:
        return [_vanished(history, registry)]
    found = [*_missing(history), *_reserved(history), *_unreadable(history, registry)]
    if history.declared is not None:
        found += _changed(history, history.declared)
        if not drafts_allowed and history.current not in history.locks:
            found.append(_draft(history, history.declared))
    return found


def _vanished(history: TypeHistory, registry: Registry) -> RuleViolation:
    name, newest = history.name, max(history.locks)
    advice = [f'It is not read any more: fait.drop_event("{name}", {version})' for version in history.locks]
    return make_violation(
        "FAIT104",
        name,
        newest,
        step=", ".join(map(str, history.locks)),
        details=("It has locks, and neither a class nor a former name nor an upcaster has this name.",),
        advice=(
            f'It was renamed: @fait.event("{_closest_name(name, registry)}", version=..., was=("{name}",))',
            *advice,
            "Or its class is not part of the app: app.include(...)",
        ),
    )


def _closest_name(name: str, registry: Registry) -> str:
    from difflib import get_close_matches  # slow to import

    return (get_close_matches(name, sorted(registry.types), 1, 0.0) or ["new-name"])[0]


def _missing(history: TypeHistory) -> Iterator[RuleViolation]:
    known = {*history.locks, history.current}
    missing = [version for version in range(1, max(known)) if version not in known]
    if missing:
        versions = ", ".join(map(str, missing))
        yield make_violation(
            "FAIT103",
            history.name,
            missing[0],
            step=versions,
            details=(f"Versions 1 to {max(known)} exist, and there is no lock of {versions}.",),
            advice=(
                "Restore the file from the history of the repository: lock files are never deleted.",
                "It never had one: write its class in any module, and run fait schema lock --class MODULE:CLASS",
                "If the version was never published, say so in an exemption in pyproject.toml.",
            ),
        )


def _unreadable(history: TypeHistory, registry: Registry) -> Iterator[RuleViolation]:
    for version in history.locks:
        if not is_readable(registry, history.name, version):
            yield make_violation(
                "FAIT105",
                history.name,
                version,
                step=f"{version} -> ?",
                place=place_of(history.declared) if history.declared else "",
                details=(_reason(history, version),),
                advice=_way_out(history, version),
            )


def _reason(history: TypeHistory, version: int) -> str:
    if history.declared is None:
        return f"{history.name!r} has no class, and no upcaster reads version {version} or a later one."
    return f"The class has version {history.current}, and no downcaster leads from version {version} to it."


def _way_out(history: TypeHistory, version: int) -> tuple[str, ...]:
    name = history.name
    if history.declared is None:
        return (
            f'It is another type now: fait.upcast("{name}", {version}, to=("other-name", 1))',
            f'It is not read any more: fait.drop_event("{name}", {version})',
        )
    return (f"Set version={version} at the class, or write @fait.downcast({name!r}, {version}).".replace("'", '"'),)


def _changed(history: TypeHistory, declared: EventType) -> Iterator[RuleViolation]:
    name, version, described = history.name, history.current, history.described
    if not history.is_changed or described is None:
        return
    lock = history.locks[version]
    differences = compare(lock.description, described)
    yield make_violation(
        "FAIT101",
        name,
        version,
        place=place_of(declared),
        details=[f"{field_path(each.path)}: {each.explanation}" for each in differences]
        or ["The structure of the class differs from the lock."],
        value=next((each.value for each in differences if each.value is not UNSET), UNSET),
        advice=(
            f"Version {version} was locked on {lock.locked_on}; events of it may be in the log.",
            f"Make it version {version + 1}: fait schema new-version {name}",
            f'It was never published? fait schema lock --replace {name}@{version} --reason "..."',
        ),
    )


def _draft(history: TypeHistory, declared: EventType) -> RuleViolation:
    name, version = history.name, history.current
    return make_violation(
        "FAIT130",
        name,
        version,
        place=place_of(declared),
        details=(f"Version {version} has no lock, so it may still change.",),
        advice=(f"Publish it: fait schema lock {name}",),
    )


def _reserved(history: TypeHistory) -> Iterator[RuleViolation]:
    """Yield the members that come back, after versions without them, with another type."""
    last: dict[str, tuple[int, Member, Description]] = {}
    reserved: dict[str, int] = {}
    before = 0
    for version in history.versions:
        described = history.description(version)
        if described is None:
            continue
        members = member_paths(described)
        for path, member in members.items():
            since = _absent_since(path, before, last, reserved)
            if since and not (path in last and _is_same(last[path], member, described)):
                yield _came_back(history, version, path, since)
        last.update({path: (version, member, described) for path, member in members.items()})
        if version in history.locks:
            reserved.update({path: version for path in history.locks[version].reserved if path not in members})
        before = version


def _absent_since(
    path: str, before: int, last: Mapping[str, tuple[int, Member, Description]], reserved: Mapping[str, int]
) -> str:
    """Return since when a member is absent, in words; empty if it was never there or never absent."""
    if path in last:
        return f"was in version {last[path][0]} and not in version {before}" if last[path][0] < before else ""
    return f"is reserved by the lock of version {reserved[path]}" if path in reserved else ""


def _is_same(before: tuple[int, Member, Description], member: Member, described: Description) -> bool:
    _, other, other_described = before
    one, two = Description(other.type, other_described.records), Description(member.type, described.records)
    return not compare(one, two)


def _came_back(history: TypeHistory, version: int, path: str, since: str) -> RuleViolation:
    return make_violation(
        "FAIT108",
        history.name,
        version,
        place=place_of(history.declared) if history.declared and version == history.current else "",
        details=(f"{path} {since}, and comes back with another type.",),
        advice=("Choose another name: readers of older versions would take one for the other.",),
    )


def field_path(path: str) -> str:
    """Return the path of a difference as upcasters write it: `lines[].sku` for `$.lines[].sku`."""
    return path.removeprefix("$").removeprefix(".").replace(".*", "[]") or "the whole event"
