"""Search for a change that `compare` calls readable although a stored event fails, or is read with another meaning.

    python -m tests.schema.soundness --minutes 10

Each case is a random event type, changed as developers change them. Where the verdict is that every event is readable,
events of the old type are decoded with the class of the new one and encoded again. Members may only be added, with
their defaults. Where members were only removed, nothing but those members may be missing.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple, cast

from msgspec import UNSET

import fait
from fait._events.event import event_type
from fait._schema.acceptance import accepts
from fait._schema.description import Array, Description, FixedArray, JsonMap, JsonObject, JsonType, OneOf, resolve
from fait.schema import Verdict, compare, describe, samples, worst_verdict
from tests.schema.random_types import ROOTS, Record, change, event_class, random_record

__all__ = ["Unsound", "search"]

SAMPLES = 200
"""Number of events for each change."""


class Unsound(NamedTuple):
    """A change whose verdict is wrong.

    Attributes:
        seed: seed of the case.
        verdict: what `compare` said.
        old: the type before.
        new: the type after.
        value: a stored event.
        result: what it is read as, or the error.
    """

    seed: int
    verdict: str
    old: Record
    new: Record
    value: Any
    result: Any


def search(seeds: Iterator[int], counts: Counter[str]) -> Iterator[Unsound]:
    """Yield the changes whose verdict is wrong, and count the cases by verdict."""
    for seed in seeds:
        random = Random(seed)
        old = random_record(random, random.choice(ROOTS))
        new = change(random, old)
        try:
            classes = event_class(old), event_class(new)
            descriptions = describe(classes[0]), describe(classes[1])
            events = samples(descriptions[0], seed, count=SAMPLES), samples(descriptions[1], seed, count=SAMPLES // 4)
        except Exception as error:  # the libraries refuse many combinations of types, with exceptions of all kinds
            counts[f"refused: {type(error).__name__}"] += 1
            continue
        found = list(_wrong(classes, descriptions, events, counts))
        yield from (Unsound(seed, verdict, old, new, value, result) for verdict, value, result in found[:1])


def _wrong(
    classes: tuple[type, type],
    descriptions: tuple[Description, Description],
    events: tuple[list[Any], list[Any]],
    counts: Counter[str],
) -> Iterator[tuple[str, Any, Any]]:
    (old, new), (before, after) = classes, descriptions
    backward, forward = compare(before, after), compare(before, after, "forward")
    verdict = worst_verdict(backward)
    counts[f"backward {verdict}"] += 1
    counts[f"forward {worst_verdict(forward)}"] += 1
    counts["equal fingerprints"] += before.fingerprint == after.fingerprint
    for event in _stored(old, before, events[0], counts):
        if verdict in (Verdict.READABLE, Verdict.DECLARE):
            result = _read(new, event)
            expected, given = filled(before, before.root, event), filled(after, after.root, result, every=True)
            if isinstance(result, Exception) or not holds(expected, given, verdict is Verdict.DECLARE):
                yield f"backward {verdict}", event, result
        if before.fingerprint == after.fingerprint and isinstance(_read(new, event), Exception):
            yield "equal fingerprints", event, _read(new, event)
    if worst_verdict(forward) is Verdict.READABLE:
        for event in _stored(new, after, events[1], counts):
            result = _read(old, event)
            if isinstance(result, Exception) or not holds(event, result, may_lose=True):
                yield "forward readable", event, result
    for each in backward:
        if each.value is not UNSET and each.verdict is not Verdict.DECLARE and each.rule != "default-changed":
            result = _read(new, each.value)
            if not isinstance(result, Exception) and holds(each.value, result):
                yield f"value of {each.rule} at {each.path}", each.value, result


def _stored(cls: type, description: Description, events: list[Any], counts: Counter[str]) -> Iterator[Any]:
    """Yield the events that a class itself reads without a loss.

    A class whose union is ambiguous to its library loses values without any change: msgspec refuses 2 for a float or
    the constant 1, and Pydantic reads true as 1.
    """
    for event in events:
        result = _read(cls, event)
        if isinstance(result, Exception) or not holds(event, filled(description, description.root, result, every=True)):
            counts["events that their own class does not read"] += 1
        else:
            yield event


def _read(cls: type, value: Any) -> Any:
    """Return the JSON of an event after decoding and encoding it again, or the error."""
    declared = event_type(cls)
    assert declared is not None
    try:
        return json.loads(declared.encode(declared.decode(json.dumps(value))))
    except (ValueError, fait.InvalidValue) as error:
        return error


def filled(description: Description, node: JsonType, value: Any, *, every: bool = False) -> Any:
    """Return a value with the members that its writer leaves out because they have their default.

    With `every`, absent members of other writers get their defaults, too: msgspec does not encode a default of a
    dataclass that it decoded from an object without that member.
    """
    node = resolve(description, node)
    match node:
        case OneOf():
            options = (each for each in node.types if accepts(description.records, each, value))
            return next((filled(description, each, value, every=every) for each in options), value)
        case JsonObject() if isinstance(value, dict):
            found = dict(cast("dict[str, Any]", value))
            for name, member in node.members.items():
                if name not in found and (member.omitted or every) and member.default is not UNSET:
                    found[name] = member.default
                elif name in found:
                    found[name] = filled(description, member.type, found[name], every=every)
            return found
        case JsonMap() if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            return {name: filled(description, node.values, each, every=every) for name, each in pairs}
        case Array() if isinstance(value, list):
            return [filled(description, node.items, each, every=every) for each in cast("list[Any]", value)]
        case FixedArray() if isinstance(value, list):
            items = cast("list[Any]", value)
            return [
                filled(description, kind, each, every=every) for kind, each in zip(node.items, items, strict=False)
            ] + items[len(node.items) :]
        case _:
            return value


def holds(value: Any, kept: Any, may_lose: bool = False) -> bool:
    """Return whether `kept` has all of a value, apart from members of objects if some may be lost."""
    if isinstance(value, dict) and isinstance(kept, dict):
        members, others = cast("dict[str, Any]", value), cast("dict[str, Any]", kept)
        return all(
            holds(each, others[name], may_lose) if name in others else may_lose for name, each in members.items()
        )
    if isinstance(value, list) and isinstance(kept, list):
        items, rest = cast("list[Any]", value), cast("list[Any]", kept)
        in_order = len(items) <= len(rest) and all(holds(a, b, may_lose) for a, b in zip(items, rest, strict=False))
        return in_order or (len(items) == len(rest) and _hold_as_sets(items, [*rest], may_lose))
    return isinstance(value, bool) == isinstance(kept, bool) and value == kept


def _hold_as_sets(items: list[Any], others: list[Any], may_lose: bool) -> bool:
    for item in items:
        match = next((number for number, other in enumerate(others) if holds(item, other, may_lose)), None)
        if match is None:
            return False
        del others[match]
    return True


def _seeds(first: int, until_s: float) -> Iterator[int]:
    while time.monotonic() < until_s:
        yield first
        first += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="the first case; default: derived from the time")
    options = parser.parse_args()
    first = int(time.time()) * 1000 if options.seed is None else options.seed
    counts, wrong = Counter[str](), 0
    for each in search(_seeds(first, time.monotonic() + 60 * options.minutes), counts):
        wrong += 1
        print("WRONG", *(f"  {name}: {value!r}" for name, value in each._asdict().items()), sep="\n", flush=True)
    for name, count in sorted(counts.items()):
        print(f"{count:8,}  {name}")
    print(f"{wrong} wrong verdicts, from seed {first}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
