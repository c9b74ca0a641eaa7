"""Compares the messages at a broker with the log: nothing lost, nothing invented, in order for each key.

A consumer keeps the last position of each key, and drops messages at or below it. So a message may be repeated, if all
that follow it for its key are repeated as well or are new. A message that arrives for the first time below the last
position of its key is lost to the consumer: it is out of order.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Arrival(NamedTuple):
    """A message at the broker, or an event of the log."""

    key: str
    position: int


def problems(log: Iterable[Arrival], arrived: Iterable[Arrival], *, repeats: bool = False) -> list[str]:
    """Return what is wrong with the messages of a topic.

    Args:
        log: the events that must be there, in order of their positions.
        arrived: the messages, in order for each key.
        repeats: whether messages may be there several times.
    """
    marks, seen, found = dict[str, int](), set[Arrival](), list[str]()
    expected = by_key(log)
    for each in arrived:
        if each in seen:
            if not repeats:
                found.append(f"repeated: {each}")
            continue
        if each.position <= marks.get(each.key, 0):
            found.append(f"out of order: {each} after {marks[each.key]}")
        elif each.position not in expected.get(each.key, ()):
            found.append(f"not in the log: {each}")
        else:
            found += [
                f"gap: {each.key} {missing} before {each.position}" for missing in _missing(expected, marks, each)
            ]
        seen.add(each)
        marks[each.key] = max(marks.get(each.key, 0), each.position)
    lost = [Arrival(key, each) for key, positions in expected.items() for each in positions]
    return found + [f"lost: {each}" for each in lost if each not in seen]


def by_key(arrivals: Iterable[Arrival]) -> dict[str, list[int]]:
    keys: dict[str, list[int]] = {}
    for each in arrivals:
        keys.setdefault(each.key, []).append(each.position)
    return keys


def _missing(expected: Mapping[str, Sequence[int]], marks: Mapping[str, int], arrival: Arrival) -> list[int]:
    return [each for each in expected[arrival.key] if marks.get(arrival.key, 0) < each < arrival.position]
