"""Compares what became of the events of a log with it: at the broker, and in the database of the consumer.

Each event has the number that it has in its stream, so an event is named by key and number in all places.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from msgspec import Struct

from tests.relay.checker import Arrival, problems

V = TypeVar("V")


class Stored(NamedTuple):
    """An event of the log.

    Attributes:
        key: its stream.
        number: its number, in its data.
        version: its version in its stream.
        position: its position in the log.
    """

    key: str
    number: int
    version: int
    position: int


class Delivered(NamedTuple):
    """A message at the broker.

    Attributes:
        key: key, from its attributes.
        number: number, from its data.
        position: position in the log, from its attributes.
        place: its lane and offset.
    """

    key: str
    number: int
    position: int
    place: str


class Results(Struct):
    """What became of the events.

    Attributes:
        events: all events of the log, in its order.
        acknowledged: the last version of each key that a producer was told.
        parked: for each key that is parked, the position from which on its events are not published.
        refused: keys of which a message was refused; only their messages may be at the broker several times.
        messages: all messages of the topic, in order for each lane; None: the broker keeps no message that is consumed.
        repeats: whether the broker may store any message several times.
        effects: key and number of each transactional effect, in order.
        reservations: key and number of each event that the consumer has appended, in order.
    """

    events: Sequence[Stored]
    acknowledged: Mapping[str, int]
    parked: Mapping[str, int]
    refused: frozenset[str]
    messages: Sequence[Delivered] | None
    repeats: bool
    effects: Sequence[tuple[str, int]]
    reservations: Sequence[tuple[str, int]]


class KeyResults(Struct):
    """What became of the events of one key; see `Results`."""

    events: list[Stored]
    acknowledged: int
    parked_from: int | None
    messages: list[Delivered] | None
    repeats: bool
    effects: list[int]
    reservations: list[int]

    @property
    def published(self) -> list[Stored]:
        """The events that must be at the broker."""
        return [each for each in self.events if self.parked_from is None or each.position < self.parked_from]


def violations(results: Results) -> dict[str, list[str]]:
    """Return what is wrong with each wrong key, in words; the key whose first event is the oldest is the first."""
    found = {key: _violations(key, each) for key, each in by_key(results).items()}
    return {key: each for key, each in found.items() if each}


def by_key(results: Results) -> dict[str, KeyResults]:
    """Return the results of each key, in order of their first events."""
    events = _grouped((each.key, each) for each in results.events)
    messages = _grouped((each.key, each) for each in results.messages or ())
    effects, reservations = _grouped(results.effects), _grouped(results.reservations)
    keys = dict.fromkeys([*events, *messages, *effects, *reservations, *results.acknowledged])
    return {
        key: KeyResults(
            events=events.get(key, []),
            acknowledged=results.acknowledged.get(key, 0),
            parked_from=results.parked.get(key),
            messages=None if results.messages is None else messages.get(key, []),
            repeats=results.repeats or key in results.refused,
            effects=effects.get(key, []),
            reservations=reservations.get(key, []),
        )
        for key in keys
    }


def history(key: str, of: KeyResults) -> list[str]:
    """Return what became of the events of a key, as lines for a human reader."""
    parked = "" if of.parked_from is None else f", parked from position {of.parked_from}"
    lines = [f"{key}: {len(of.events)} events, version {of.acknowledged} acknowledged{parked}"]
    lines += [f"  log     {each.number} at position {each.position}" for each in of.events]
    lines += [f"  broker  {each.number} at position {each.position} in {each.place}" for each in of.messages or ()]
    return [*lines, f"  effects {of.effects}", f"  events of the consumer {of.reservations}"]


def _grouped(pairs: Iterable[tuple[str, V]]) -> dict[str, list[V]]:
    groups: dict[str, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _violations(key: str, of: KeyResults) -> list[str]:
    published = [Arrival(key, each.number) for each in of.published]
    return [
        *(f"log: {each}" for each in _wrong_versions(of)),
        *(f"broker: {each}" for each in _wrong_messages(key, of, published)),
        *(f"effect: {each}" for each in problems(published, [Arrival(key, n) for n in of.effects])),
        *(f"event of the consumer: {each}" for each in problems(published, [Arrival(key, n) for n in of.reservations])),
    ]


def _wrong_versions(of: KeyResults) -> list[str]:
    numbers = range(1, len(of.events) + 1)
    wrong = [f"{each}" for n, each in zip(numbers, of.events, strict=True) if not each.number == each.version == n]
    return wrong + ([f"acknowledged version {of.acknowledged} is lost"] if of.acknowledged > len(of.events) else [])


def _wrong_messages(key: str, of: KeyResults, published: Sequence[Arrival]) -> list[str]:
    if of.messages is None:
        return []
    positions = {each.number: each.position for each in of.events}
    return [
        *problems(published, [Arrival(key, each.number) for each in of.messages], repeats=of.repeats),
        *(f"wrong position: {each}" for each in of.messages if positions.get(each.number) != each.position),
    ]
