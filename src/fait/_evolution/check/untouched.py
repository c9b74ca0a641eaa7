"""Finds changes of meaning that an upcaster leaves as they are.

Both versions allow the value, so running does not show them: exchanged values of an enum, exchanged names of fields, or
another default of a member that events leave out. Only the samples before and after the upcaster show whether it
converts them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from fait._evolution.check.automatic import with_omissions
from fait._evolution.check.coverage import Coverage
from fait._evolution.check.hops import Hop
from fait._evolution.check.type_history import TypeHistory
from fait._evolution.check.versions import field_path
from fait._evolution.locks.members import same_members
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.violation import RuleViolation
from fait._schema.compare import compare
from fait._schema.description import Description, JsonObject, resolve
from fait._schema.difference import Difference, Verdict

__all__ = ["check_untouched"]

Conversions = Iterable[tuple[Any, Any]]
"""Inputs of an upcaster, each with a result."""

_DEFAULTS: Final = ("default-changed", "default-removed")
_STEP: Final = re.compile(r"\.\*|\{key\}|\[\d*\]|\.[^.\[{]+")
_ABSENT: Final = object()
"""In place of a value: the object does not have the member."""


def check_untouched(hop: Hop, history: TypeHistory, coverage: Coverage) -> Iterator[RuleViolation]:
    """Yield the violation of an upcaster that does not convert a member whose meaning changes."""
    found = [
        f"{field_path(each.path)}: {each.explanation}, and the upcaster leaves it as it is"
        for described, conversions in coverage.conversions()
        for each in _changes_of_meaning(coverage.described, described)
        if with_omissions(each, hop, history).verdict is Verdict.CONVERT and _is_untouched(each, conversions)
    ]
    if found:
        yield make_violation(
            "FAIT115",
            hop.name,
            hop.version,
            step=hop.label,
            place=hop.place,
            details=dict.fromkeys(found),
            advice=["Convert it in the upcaster, too."],
        )


def _changes_of_meaning(old: Description, new: Description) -> list[Difference]:
    before, after = resolve(old, old.root), resolve(new, new.root)
    if isinstance(before, JsonObject) and isinstance(after, JsonObject):
        same = same_members(old, new)
        shared = [name for name in before.members if name in after.members]
        changed = [name for name in shared if name not in same or before.members[name] != after.members[name]]
        if not changed:
            return []  # the usual case, which needs no comparison
        old, new = _with_members(old, before, changed), _with_members(new, after, changed)
    return [each for each in compare(old, new) if each.rule in ("meaning-changed", *_DEFAULTS)]


def _with_members(described: Description, node: JsonObject, names: Iterable[str]) -> Description:
    return Description(JsonObject({name: node.members[name] for name in names}), described.records)


def _is_untouched(difference: Difference, conversions: Conversions) -> bool:
    """Return whether an upcaster left a value as it was in each sample; of a default, whether it was absent in one."""
    steps = _STEP.findall(difference.path)
    values = [(_values_at(before, steps), _values_at(after, steps)) for before, after in conversions]
    if difference.rule in _DEFAULTS:
        return any(one is other is _ABSENT for before, after in values for one, other in zip(before, after))  # noqa: B905
    # fault: untouched-meaning
    return all(before == after for before, after in values)


def _values_at(data: Any, steps: Iterable[str]) -> list[Any]:
    values = [data]
    for step in steps:
        values = [inside for value in values for inside in _values_inside(value, step)]
    return values


def _values_inside(value: Any, step: str) -> list[Any]:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        if step in (".*", "{key}"):
            return list(members.values() if step == ".*" else members)
        return [members.get(step[1:], _ABSENT)]
    if isinstance(value, list) and step[0] == "[":
        items = cast("list[Any]", value)
        return items if step == "[]" else items[int(step[1:-1]) :][:1]
    return []
