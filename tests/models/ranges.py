"""A model of the ranges of a subscription: workers split and merge them while they are paused, expired and taken over.

There are two hashes, 0 and 1, and an event for each. The rows of the ranges cover both: one row, or two. Records are
sent and executed later, also after the range was split, merged or acquired by another worker.

In the design, both halves of a split have its frontier and its pending positions, under the next fencing token. Each
half ignores the pending positions of the other one. A merge needs equal frontiers, and rows without pending positions;
the token is above those of both. Variants are faulty designs.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tests.models.explore import Exploration, explore

Variant = Literal[
    "",
    "new half begins at token 1",
    "pending not copied to the new half",
    "merge at the lower frontier",
    "merge at the higher frontier",
    "merge keeps all stored pending positions",
    "merge forgets pending positions",
]


class Row(NamedTuple):
    """A range, as the database has it. `owner`: place of its worker; -1: none."""

    low: int
    high: int
    owner: int
    token: int
    frontier: int
    pending: frozenset[int]


class Tenure(NamedTuple):
    """A range, as its worker knows it, with the events in its queue."""

    low: int
    high: int
    token: int
    frontier: int
    queue: tuple[int, ...]


class Record(NamedTuple):
    """A unit of work that was sent: the effect of one event, and the range afterwards."""

    place: int
    low: int
    token: int
    frontier: int
    pending: frozenset[int]
    event: int


class State(NamedTuple):
    """The database, the workers, what was sent, and how many changes of ranges may follow."""

    rows: tuple[Row, ...]
    workers: tuple[tuple[Tenure, ...], ...]
    sent: tuple[Record, ...] = ()
    effects: tuple[int, ...] = ()
    appended: int = 0
    changes: int = 0


def check(variant: Variant = "", *, hashes: tuple[int, ...] = (0, 1), changes: int = 3) -> Exploration:
    """Explore a design.

    Args:
        variant: the faulty design; "": the design of fait.
        hashes: hash of the event at each position.
        changes: maximum number of splits, merges, releases and take-overs.
    """
    start = State((Row(0, 2, -1, 1, 0, frozenset()),), ((), ()), changes=changes)
    model = _Model(variant, hashes)
    return explore(start, model.steps, model.find_problem)


class _Model(NamedTuple):
    variant: Variant
    hashes: tuple[int, ...]

    def own(self, row: Row) -> tuple[int, ...]:
        """Return the pending positions of a range, without those of another half."""
        return tuple(sorted(each for each in row.pending if row.low <= self.hashes[each - 1] < row.high))

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        if s.appended < len(self.hashes):
            yield f"append {s.appended + 1}", s._replace(appended=s.appended + 1)
        for index, record in enumerate(s.sent):
            yield _execute(s._replace(sent=s.sent[:index] + s.sent[index + 1 :]), record)
        for place, tenures in enumerate(s.workers):
            yield from self._acquire(s, place, tenures)
            for tenure in tenures:
                if not _is_recording(s, place, tenure):
                    yield from self._owner_steps(s, place, tenure)
            if len(tenures) == 2 and s.changes and not any(_is_recording(s, place, each) for each in tenures):
                yield from self._merge(s, place, *sorted(tenures))

    def _acquire(self, s: State, place: int, tenures: tuple[Tenure, ...]) -> Iterator[tuple[str, State]]:
        """A worker acquires a range that is free or whose worker has expired, which may happen at any time."""
        for row in s.rows:
            overlaps = any(each.low < row.high and row.low < each.high for each in tenures)
            if overlaps or row.owner == place or (row.owner != -1 and not s.changes):
                continue
            new = row._replace(owner=place, token=row.token + 1)
            after = _with_rows(s, (row,), (new,), is_change=row.owner != -1)
            yield f"{place} acquires {row.low}", _with_tenures(after, place, (), (self._tenure(new),))

    def _tenure(self, row: Row) -> Tenure:
        return Tenure(row.low, row.high, row.token, row.frontier, self.own(row))

    def _owner_steps(self, s: State, place: int, tenure: Tenure) -> Iterator[tuple[str, State]]:
        row = _row_of(s, tenure)
        if row is None:
            yield f"{place} finds {tenure.low} lost", _with_tenures(s, place, (tenure,), ())
        if tenure.frontier < s.appended:
            event = tenure.frontier + 1
            is_own = tenure.low <= self.hashes[event - 1] < tenure.high
            queue = (*tenure.queue, event) if is_own else tenure.queue
            taken = tenure._replace(frontier=event, queue=queue)
            yield f"{place} takes {event} for {tenure.low}", _with_tenures(s, place, (tenure,), (taken,))
        for event in tenure.queue:
            same_hash = [each for each in tenure.queue if self.hashes[each - 1] == self.hashes[event - 1]]
            if event == min(same_hash) and len(s.sent) < 2:
                pending = frozenset(tenure.queue) - {event}
                record = Record(place, tenure.low, tenure.token, tenure.frontier, pending, event)
                yield f"{place} sends a record of {event}", s._replace(sent=(*s.sent, record))
        if row is not None and s.changes:
            yield from self._change(s, place, tenure, row)

    def _change(self, s: State, place: int, tenure: Tenure, row: Row) -> Iterator[tuple[str, State]]:
        if not tenure.queue:
            free = Row(row.low, row.high, -1, row.token + 1, tenure.frontier, frozenset())
            released = _with_rows(s, (row,), (free,))
            yield f"{place} releases {row.low}", _with_tenures(released, place, (tenure,), ())
        if row.high - row.low == 2:
            token = 1 if self.variant == "new half begins at token 1" else row.token + 1
            copied = frozenset[int]() if self.variant == "pending not copied to the new half" else row.pending
            halves = (row._replace(high=1, token=row.token + 1), row._replace(low=1, token=token, pending=copied))
            after = _with_rows(s, (row,), halves)
            yield f"{place} splits", _with_tenures(after, place, (tenure,), tuple(map(self._tenure, halves)))

    def _merge(self, s: State, place: int, lower: Tenure, upper: Tenure) -> Iterator[tuple[str, State]]:
        x, y = _row_of(s, lower), _row_of(s, upper)
        ignores_frontier = self.variant in ("merge at the lower frontier", "merge at the higher frontier")
        if x is None or y is None or (x.frontier != y.frontier and not ignores_frontier):
            return
        choose = max if self.variant == "merge at the higher frontier" else min
        pending = x.pending | y.pending
        if pending and self.variant not in (
            "merge keeps all stored pending positions",
            "merge forgets pending positions",
        ):
            return
        if self.variant == "merge forgets pending positions":
            pending = frozenset[int]()
        whole = Row(0, 2, place, max(x.token, y.token) + 1, choose(x.frontier, y.frontier), pending)
        after = _with_rows(s, (x, y), (whole,))
        yield f"{place} merges", _with_tenures(after, place, (lower, upper), (self._tenure(whole),))

    def find_problem(self, s: State) -> str | None:
        if [each for row in s.rows for each in range(row.low, row.high)] != [0, 1]:
            return "the ranges do not cover all hashes once"
        for event in range(1, s.appended + 1):
            hash = self.hashes[event - 1]
            row = next(each for each in s.rows if each.low <= hash < each.high)
            if s.effects.count(event) > 1:
                return f"the effect of {event} happened twice"
            if event <= row.frontier and event not in row.pending and event not in s.effects:
                return f"{event} is finished and was never handled"
        for hash in (0, 1):
            order = [each for each in s.effects if self.hashes[each - 1] == hash]
            if order != sorted(order):
                return f"events of hash {hash} were handled in the order {order}"
        return None


def _execute(s: State, record: Record) -> tuple[str, State]:
    """The database executes a record, and its worker gets the answer."""
    row = next((each for each in s.rows if (each.low, each.token) == (record.low, record.token)), None)
    tenures = s.workers[record.place]
    tenure = tuple(each for each in tenures if (each.low, each.token) == (record.low, record.token))
    if row is None:
        return f"refuse a record of {record.place}", _with_tenures(s, record.place, tenure, ())
    moved = row._replace(frontier=record.frontier, pending=record.pending)
    s = _with_rows(s, (row,), (moved,), is_change=False)._replace(effects=(*s.effects, record.event))
    rest = tuple(t._replace(queue=tuple(each for each in t.queue if each != record.event)) for t in tenure)
    return f"record {record.event} of {record.place}", _with_tenures(s, record.place, tenure, rest)


def _is_recording(s: State, place: int, tenure: Tenure) -> bool:
    return any((each.place, each.low, each.token) == (place, tenure.low, tenure.token) for each in s.sent)


def _row_of(s: State, tenure: Tenure) -> Row | None:
    return next((each for each in s.rows if (each.low, each.token) == (tenure.low, tenure.token)), None)


def _with_rows(s: State, old: tuple[Row, ...], new: tuple[Row, ...], *, is_change: bool = True) -> State:
    rows = tuple(sorted((*(each for each in s.rows if each not in old), *new), key=lambda row: row.low))
    return s._replace(rows=rows, changes=s.changes - is_change)


def _with_tenures(s: State, place: int, old: tuple[Tenure, ...], new: tuple[Tenure, ...]) -> State:
    tenures = tuple(sorted((*(each for each in s.workers[place] if each not in old), *new)))
    return s._replace(workers=(*s.workers[:place], tenures, *s.workers[place + 1 :]))
