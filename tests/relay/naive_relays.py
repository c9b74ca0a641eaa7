"""Relays as tutorials write them, over a table that several transactions fill: each breaks one promise.

A row has an id, drawn when it is inserted, and the turn of the relay in which its transaction commits. Ids of a stream
are in the order of its commits; those of different streams need not be.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.relay.checker import Arrival


class Row(NamedTuple):
    """A row of the outbox."""

    key: str
    id: int
    committed_at: int

    @property
    def arrival(self) -> Arrival:
        return Arrival(self.key, self.id)


ROWS = [Row(f"k{n % 3}", n, committed_at=n // 4 + (3 if n == 10 else 0)) for n in range(1, 25)]
"""The transaction of row 10 commits after those of greater ids of other streams; row 13 has the same key."""

TURNS = 12

Relay = Callable[[Sequence[Row]], Iterator[Arrival]]


def ordered(rows: Sequence[Row]) -> Iterator[Arrival]:
    """Waits until nothing can appear below the cursor any more."""
    yield from (each.arrival for each in sorted(rows, key=lambda row: row.id))


def id_cursor(rows: Sequence[Row]) -> Iterator[Arrival]:
    """Reads what is committed above the greatest id that it has seen."""
    cursor = 0
    for turn in range(TURNS):
        for each in rows:
            if each.id > cursor and each.committed_at <= turn:
                cursor = each.id
                yield each.arrival


def skip_locked(rows: Sequence[Row]) -> Iterator[Arrival]:
    """Two workers take four rows each, with FOR UPDATE SKIP LOCKED; the second one is faster."""
    for start in range(0, len(rows), 8):
        yield from (each.arrival for each in rows[start + 4 : start + 8])
        yield from (each.arrival for each in rows[start : start + 4])


def marks_without_order(rows: Sequence[Row]) -> Iterator[Arrival]:
    """Publishes rows at the same time and marks those that were confirmed; the refused first attempt follows last."""
    for start in range(0, len(rows), 6):
        batch = list(rows[start : start + 6])
        yield from (each.arrival for each in [*batch[1:], batch[0]])


def marks_before(rows: Sequence[Row]) -> Iterator[Arrival]:
    """Marks a batch before it is published, and dies in between once."""
    for start in range(0, len(rows), 6):
        if start != 6:
            yield from (each.arrival for each in rows[start : start + 6])


def marks_after(rows: Sequence[Row]) -> Iterator[Arrival]:
    """Marks a batch after it is published, in order, and dies in between once: a repeated prefix."""
    for start in (0, 6, 6, 12, 18):
        yield from (each.arrival for each in rows[start : start + 6])
