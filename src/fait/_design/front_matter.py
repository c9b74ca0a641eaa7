"""The front matter of a design document: its facts as YAML, so that a program can compare them with the code.

The YAML has a simple form, one fact a line, and every value is JSON, which YAML contains. So any YAML parser reads it,
and fait needs none: it reads the form that it writes, and refuses others. Keys that are not fait's belong to the
user and are kept.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from fait._design.advice import Advice, AdvisedAxes
from fait._design.catalog import Catalog, EventConsumer, EventEntry, EventProducer
from fait._errors import UsageError

__all__ = [
    "DesignFacts",
    "EventFacts",
    "ModuleFacts",
    "design_facts",
    "front_matter",
    "front_matter_values",
    "read_front_matter",
    "user_lines",
]

FORMAT_VERSION: Final = 1
"""Version of the front matter. Increment it when a document of an older fait cannot be compared."""

_KEY: Final = re.compile(r"([A-Za-z0-9_-]+):(?: (.*))?$")
_ITEM: Final = re.compile(r"  (- |  )([a-z_]+): (.*)$")


class ModuleFacts(AdvisedAxes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the advisor recommended for a module.

    Attributes:
        name: name of the module.
        headline: the answer in one word; empty if the advisor did not say it.
    """

    name: str
    headline: str = ""


class EventFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event type as the document says it is; the attributes are those of `EventEntry`.

    Attributes:
        type: its stored name.
        version: the schema version.
        fingerprint: the fingerprint of its description.
        lock: the state of its lock.
        former_names: stored names that it had before.
        retention_s: minimum retention in seconds; None if it is kept.
    """

    type: str
    version: int
    fingerprint: str
    lock: str
    former_names: tuple[str, ...] = ()
    retention_s: float | None = None


class DesignFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts of a design document.

    Attributes:
        fait_design: version of the front matter.
        system: name of the system.
        plan: whether it was written without code.
        headline: the advisor's answer in one word; empty without an advisor.
        modules: the advisor's answer for each module.
        events: the event types of the app.
        producers: what makes events.
        consumers: what reads events, and what it is promised.
    """

    fait_design: Literal[1] = FORMAT_VERSION
    system: str
    plan: bool = False
    headline: str = ""
    modules: tuple[ModuleFacts, ...] = ()
    events: tuple[EventFacts, ...] = ()
    producers: tuple[EventProducer, ...] = ()
    consumers: tuple[EventConsumer, ...] = ()


_KEYS: Final = {each.name for each in fields(DesignFacts)}


def design_facts(
    system: str, catalog: Catalog | None, advice: Advice | None, earlier: DesignFacts | None = None
) -> DesignFacts:
    """Return the facts of a document.

    Args:
        system: name of the system.
        catalog: the catalog of the app; None without an app.
        advice: the advisor's answer; None if it is that of the earlier document.
        earlier: the facts of the document that is written again.
    """
    headline, modules = (earlier.headline, earlier.modules) if earlier else ("", ())
    if advice is not None:
        headline = advice.headline
        modules = tuple(
            ModuleFacts(name=each.name, headline=each.headline or "", **msgspec.structs.asdict(each.axes))
            for each in advice.modules
        )
    if catalog is None:
        return DesignFacts(system=system, plan=True, headline=headline, modules=modules)
    return DesignFacts(
        system=system,
        headline=headline,
        modules=modules,
        events=tuple(map(_event_facts, catalog.events)),
        producers=catalog.producers,
        consumers=catalog.consumers,
    )


def _event_facts(entry: EventEntry) -> EventFacts:
    return EventFacts(**{each.name: getattr(entry, each.name) for each in fields(EventFacts)})


def front_matter(facts: DesignFacts, kept: str = "") -> str:
    """Return the front matter between its two lines of dashes; `kept` are the lines of the user."""
    values = msgspec.to_builtins(facts)
    lines = [line for key, value in values.items() for line in _lines(key, value)]
    return "\n".join(["---", *lines, *filter(None, [kept]), "---"])


def _lines(key: str, value: Any) -> Iterator[str]:
    items = cast("tuple[dict[str, Any], ...]", value if isinstance(value, list | tuple) else ())
    yield f"{key}:" if items else f"{key}: {_json(value)}"
    for item in items:
        pairs = [(name, each) for name, each in item.items() if each not in ("", None, (), [], 0)]
        for number, (name, each) in enumerate(pairs):
            yield f"  {'- ' if number == 0 else '  '}{name}: {_json(each)}"


def _json(value: Any) -> str:
    text = msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def read_front_matter(text: str) -> DesignFacts:
    """Return the facts in a front matter, given the lines between the dashes.

    Raises:
        UsageError: a line of fait's keys is not in the form that fait writes.
    """
    try:
        return msgspec.convert(front_matter_values(text), DesignFacts)
    except msgspec.ValidationError as error:
        raise UsageError(f"the front matter is not one of fait: {error}. {_ADVICE}") from None


def front_matter_values(text: str) -> dict[str, Any]:
    """Return the values of fait's keys as plain data, as a YAML parser does.

    Raises:
        UsageError: a line of fait's keys is not in the form that fait writes.
    """
    values: dict[str, Any] = {}
    for number, line, key in _keyed(text):
        if key in _KEYS:
            _read_line(values, key, line, number)
    return values


_ADVICE: Final = "Restore it from version control, or write the document again with fait design --out to a new file."


def _read_line(values: dict[str, Any], key: str, line: str, number: int) -> None:
    top, item = _KEY.match(line), _ITEM.match(line)
    try:
        if top:
            values[key] = msgspec.json.decode(top[2]) if top[2] else []
        elif item and isinstance(values[key], list):
            if item[1] == "- ":
                values[key].append({})
            values[key][-1][item[2]] = msgspec.json.decode(item[3])
        else:
            raise UsageError(f"line {number} of the front matter is not in the form that fait writes. {_ADVICE}")
    except (msgspec.DecodeError, IndexError):
        raise UsageError(f"line {number} of the front matter is not in the form that fait writes. {_ADVICE}") from None


def _keyed(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each line, which is at least 2, the line, and the key that it belongs to."""
    key = ""
    for number, line in enumerate(text.splitlines(), 2):
        if match := _KEY.match(line):
            key = match[1]
        yield number, line, key


def user_lines(text: str) -> str:
    """Return the lines of a front matter that belong to keys of the user."""
    return "\n".join(line for _, line, key in _keyed(text) if key not in _KEYS)
