"""The facts on which `fait advise` decides: their names and values, and how a file of facts is read.

A fact has a value, the passage of the description that says so, and a confidence. A system is a list of modules with
facts of their own; facts of the whole system hold in a module that says nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, cast

from fait._errors import UsageError

__all__ = ["FACTS", "Fact", "KnownFacts", "Module", "Value", "facts_of", "read_modules"]

Value: TypeAlias = str | bool

_LEVELS: Final = ("low", "medium", "high")
_YES_NO: Final = (True, False)

FACTS: Final[Mapping[str, tuple[Value, ...]]] = {
    "domain_complexity": _LEVELS,
    "lifecycle": ("crud", "simple", "rich"),
    "history_need": ("none", "change_log", "full_audit", "temporal"),
    "intent_matters": _YES_NO,
    "record_kind": ("business_facts", "measurements", "documents", "reference"),
    "events_natural": _YES_NO,
    "consumers": ("none", "in_process", "services"),
    "loss": ("tolerable", "must_not_lose"),
    "dual_write": _YES_NO,
    "write_path_changeable": _YES_NO,
    "read_asymmetry": _LEVELS,
    "read_shapes": ("one", "several"),
    "staleness": ("eventual_ok", "strict_decisions", "strict_all"),
    "contention": _LEVELS,
    "throughput": _LEVELS,
    "ordering": ("none", "per_entity", "global"),
    "stream_growth": ("short", "long", "unbounded"),
    "personal_data": ("none", "some", "erasure"),
    "team_experience": ("none", "some", "strong"),
    "lifespan": ("prototype", "years"),
}
"""The values of each fact, by its name."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known about one question.

    Attributes:
        value: one of the values in `FACTS`.
        quote: the passage of the description that says so; empty if the fact was given as a fact.
        confidence: from 0 to 1; 1 if the fact was given as a fact.
    """

    value: Value
    quote: str = ""
    confidence: float = 1.0


KnownFacts: TypeAlias = Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class Module:
    """A part of the system that is decided on its own.

    Attributes:
        name: its name in the description; `system` if the description has no parts.
        facts: what is known, by the name of the fact.
        carries: whether the description says that this module matters most.
    """

    name: str
    facts: KnownFacts
    carries: bool = False

    def knowing(self, name: str, value: Value) -> "Module":
        """Return the module with one fact replaced."""
        return replace(self, facts={**self.facts, name: Fact(value)})


def facts_of(values: object, place: str = "facts") -> dict[str, Fact]:
    """Check names and values of facts.

    Args:
        values: an object of values by name, as decoded from a file. A value may also be an object with `value`, and
            optionally `quote` and `confidence`, as `fait advise --json` prints it. `null` is an unknown fact.
        place: where the facts are, for the message of an error.

    Raises:
        UsageError: a name or a value is not one of `FACTS`.
    """
    given = _object(values, place)
    return {name: _fact(name, value, place) for name, value in given.items() if value is not None}


def read_modules(document: object) -> tuple[Module, ...]:
    """Return the modules of a file of facts.

    Args:
        document: facts by name, and optionally `modules`, a list of objects with a `name` and facts. The facts outside
            `modules` hold in each module that says nothing else.

    Raises:
        UsageError: the document, a name or a value is not as described, or two modules have the same name.
    """
    given = dict(_object(document, "facts"))
    modules: object = given.pop("modules", [])
    if not isinstance(modules, list):
        raise UsageError("facts: modules is not a list. Write a list of objects, each with a name and facts.")
    shared = facts_of(given)
    found = [_module(each, shared, number) for number, each in enumerate(cast("list[object]", modules), 1)]
    names = [each.name for each in found]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"facts: two modules have the name {repeated!r}. Give each module a name of its own.")
    return tuple(found) or (Module("system", shared),)


def _module(value: object, shared: KnownFacts, number: int) -> Module:
    given = dict(_object(value, f"facts: module {number}"))
    name = given.pop("name", None)
    carries = given.pop("carries", False)
    if not isinstance(name, str) or not name or not isinstance(carries, bool):
        raise UsageError(f"facts: module {number} needs a name, a text, and may have carries, true or false.")
    return Module(name, {**shared, **facts_of(given, f"facts: module {name}")}, carries)


def _object(value: object, place: str) -> Mapping[str, Any]:
    kind = type(value).__name__
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in cast("dict[object, object]", value)):
        raise UsageError(f"{place}: expected an object of facts by name, got {kind}.")
    return cast("Mapping[str, Any]", value)


def _fact(name: str, given: object, place: str) -> Fact:
    if name not in FACTS:
        raise UsageError(f"{place}: unknown fact {name!r}. The facts are: {', '.join(FACTS)}, modules.")
    detail: Mapping[str, object] = {"value": given}
    if isinstance(given, dict):
        detail = cast("dict[str, object]", given)
    value = detail.get("value")
    quote, confidence = detail.get("quote", ""), detail.get("confidence", 1.0)
    if not any(value is each or (isinstance(each, str) and value == each) for each in FACTS[name]):
        allowed = ", ".join(str(each).lower() for each in FACTS[name])
        raise UsageError(f"{place}: {name} cannot be {value!r}. Allowed: {allowed}.")
    if not isinstance(quote, str) or isinstance(confidence, bool) or not isinstance(confidence, int | float):
        raise UsageError(f"{place}: {name} needs a text as quote and a number from 0 to 1 as confidence.")
    return Fact(cast("Value", value), quote, min(1.0, max(0.0, confidence)))
