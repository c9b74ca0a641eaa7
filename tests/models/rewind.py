"""A model of a relay whose broker loses messages that it has confirmed, and of the rewind after that.

There is one range with the keys "a" and "b", which belong to different buckets. Two halves of it were merged: "a" has
been published up to position 2, and nothing was ever published for "b". The broker is a journal: a loss removes entries
at its end, also those that fence former publishers. A call that was sent before the loss can be executed after it.
Redriven messages move no position. A loss of them is not noticed if no later message was recorded, or if such a call
replaces that one: both are excluded.

In the design, a worker records with the checkpoint the position that the broker has confirmed for each bucket, and for
a redriven key the first event and the position that the broker stored at that time. What is published can be recorded
later, with other events, but before a key is redriven. The next publisher compares these
with the positions of the broker, by bucket. A rewind fences, sets the checkpoint back to the lowest position of the
buckets that have lost messages, forgets failures beyond it, and redrives again what was redriven in the lost part.
Variants are faulty designs.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

from tests.models.explore import Exploration, explore

Variant = Literal[
    "",
    "confirmed position not recorded",
    "confirmed position of a former owner not recorded",
    "lowest position of all buckets compared",
    "checkpoint compared",
    "failures beyond the hole kept",
    "failures before the hole forgotten",
    "redriven events of the hole not redriven",
    "checkpoint set back without a fence",
    "checkpoint kept",
    "key redriven before what is published is recorded",
]


class Failure(NamedTuple):
    """The failure of the key "a"."""

    is_redriven: bool
    next_position: int


class Entry(NamedTuple):
    """An entry of the journal: a message, or none, with the positions of the buckets and the last publisher."""

    event: int
    positions: tuple[int, int]
    publisher: int


class Call(NamedTuple):
    """What a worker does with an event: it may be sent to the broker, and is then recorded."""

    event: int
    is_sent: bool = False
    keeps_position: bool = False
    failure: Failure | None = None
    checkpoint: int = 0


class Worker(NamedTuple):
    """A worker. `token` 0: it owns nothing. `start`: position up to which the broker has the messages."""

    token: int = 0
    checkpoint: int = 0
    recorded: int = 0
    """The checkpoint as the database has it."""
    start: int = 0
    failure: Failure | None = None
    call: Call | None = None
    executed: bool = False
    has_lost: bool = False


class State(NamedTuple):
    """Broker, database and workers, and how often something has happened."""

    journal: tuple[Entry, ...]
    token: int = 1
    checkpoint: int = 2
    failure: Failure | None = None
    confirmed: tuple[int, int] = (2, 0)
    redriven: tuple[int, int] = (-1, 0)
    """Position of the broker when events of "a" were redriven, and the first of them."""
    workers: tuple[Worker, ...] = (Worker(), Worker())
    refusals: int = 0
    openings: int = 0
    losses: int = 0


def check(variant: Variant = "", *, keys: str = "aababb", refusals: int = 1, openings: int = 3) -> Exploration:
    """Explore a design.

    Args:
        variant: the faulty design; "": the design of fait.
        keys: key of the event at each position; the first two are "a".
        refusals: maximum number of messages that the broker refuses.
        openings: maximum number of times that a worker acquires the range.
    """
    model = _Model(variant, keys, refusals, openings)
    journal = (Entry(0, (0, 0), 1), Entry(1, (1, 0), 1), Entry(2, (2, 0), 1))
    return explore(State(journal), model.steps, model.find_problem)


class _Model(NamedTuple):
    variant: Variant
    keys: str
    refusals: int
    openings: int

    def bucket(self, event: int) -> int:
        return "ab".index(self.keys[event - 1])

    def events_of_a(self, first: int, last: int) -> list[int]:
        return [each for each in range(first, last + 1) if self.keys[each - 1] == "a"]

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        if not s.losses:
            for kept in range(1, len(s.journal)):
                if not (redriven := _has_redriven(s, kept)) or _is_noticed(s, kept):
                    workers = tuple(Worker() if redriven else _disconnected(each) for each in s.workers)
                    lost = s._replace(journal=s.journal[:kept], losses=1, workers=workers)
                    yield f"the broker loses all but {kept} entries", lost
        if s.failure and not s.failure.is_redriven and not any(each.call for each in s.workers):
            redriven = s._replace(failure=s.failure._replace(is_redriven=True))
            yield "an operator requests a redrive", redriven
        for place, worker in enumerate(s.workers):
            if s.openings < self.openings and worker.call is None:
                yield f"{place} opens", self._open(s, place)
            if worker.has_lost and worker.token == s.token:
                yield "an operator rewinds", self._rewind(s, place)
            elif worker.call is not None:
                yield from self._call_steps(s, place, worker, worker.call)
            elif worker.token and not worker.has_lost:
                yield from self._owner_steps(s, place, worker)

    def _open(self, s: State, place: int) -> State:
        token, positions = s.token + 1, s.journal[-1].positions
        s = s._replace(token=token, openings=s.openings + 1, journal=(*s.journal, Entry(0, positions, token)))
        lost = any(self._lost(s, positions))
        return _put(s, place, Worker(token, s.checkpoint, s.checkpoint, min(positions), s.failure, has_lost=lost))

    def _lost(self, s: State, positions: tuple[int, int]) -> list[bool]:
        if self.variant == "confirmed position not recorded":
            return [False, False]
        if self.variant == "lowest position of all buckets compared":
            return [min(positions) < min(s.confirmed)] * 2
        if self.variant == "checkpoint compared":
            return [each < s.checkpoint for each in positions]
        return [each < confirmed for each, confirmed in zip(positions, s.confirmed, strict=True)]

    def _rewind(self, s: State, place: int) -> State:
        token, positions = s.token + 1, s.journal[-1].positions
        if self.variant != "checkpoint set back without a fence":
            s = s._replace(journal=(*s.journal, Entry(0, positions, token)))
        lost, failure = self._lost(s, positions), s.failure
        target = min((each for each, is_lost in zip(positions, lost, strict=True) if is_lost), default=s.checkpoint)
        if failure and lost[0] and failure.next_position > positions[0]:
            failure = failure if self.variant == "failures beyond the hole kept" else None
        elif self.variant == "failures before the hole forgotten":
            failure = None
        is_hole_redriven = lost[0] and s.redriven[0] >= positions[0] >= s.redriven[1]
        if is_hole_redriven and self.variant != "redriven events of the hole not redriven":
            failure = Failure(True, min(s.redriven[1], failure.next_position if failure else s.redriven[1]))
        return _put(s, place, Worker())._replace(
            token=token,
            checkpoint=s.checkpoint if self.variant == "checkpoint kept" else min(s.checkpoint, target),
            failure=failure,
            confirmed=(min(s.confirmed[0], positions[0]), min(s.confirmed[1], positions[1])),
            redriven=(-1, 0) if lost[0] and s.redriven[0] >= positions[0] else s.redriven,
        )

    def _owner_steps(self, s: State, place: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if worker.failure != s.failure and worker.token == s.token:
            yield f"{place} sees the request", _put(s, place, worker._replace(failure=s.failure))
        event, failure = worker.checkpoint + 1, worker.failure
        if event <= len(self.keys):
            is_failed = failure is not None and self.keys[event - 1] == "a"
            sent = not is_failed and event > worker.start
            call = Call(event, is_sent=sent, failure=failure, checkpoint=event)
            yield f"{place} takes {event}", _put(s, place, worker._replace(call=call))
            if sent and self.keys[event - 1] == "a" and s.refusals < self.refusals:
                parked = Call(event, failure=Failure(False, event), checkpoint=event)
                refused = s._replace(refusals=s.refusals + 1)
                yield f"{place} parks {event}", _put(refused, place, worker._replace(call=parked))
        is_unrecorded = worker.recorded < worker.checkpoint
        if is_unrecorded and worker.token == s.token:
            unrecorded = Call(0, failure=failure, checkpoint=worker.checkpoint)
            yield f"{place} records what it has published", self._record(s, place, worker, unrecorded)
        may_redrive = not is_unrecorded or self.variant == "key redriven before what is published is recorded"
        if failure and failure.is_redriven and worker.checkpoint >= worker.start and may_redrive:
            yield from self._redrive(s, place, worker, failure)

    def _redrive(self, s: State, place: int, worker: Worker, failure: Failure) -> Iterator[tuple[str, State]]:
        remaining = self.events_of_a(failure.next_position, worker.recorded)
        if not remaining:
            back = Call(0, failure=None, checkpoint=worker.recorded)
            yield f"{place} hands back", _put(s, place, worker._replace(call=back))
            return
        after = Failure(True, remaining[0] + 1) if remaining[1:] else None
        call = Call(remaining[0], True, True, after, worker.recorded)
        yield f"{place} redrives {remaining[0]}", _put(s, place, worker._replace(call=call))

    def _call_steps(self, s: State, place: int, worker: Worker, call: Call) -> Iterator[tuple[str, State]]:
        if worker.token != s.token and not (call.is_sent and not worker.executed):
            yield f"record of {place} is rejected", _put(s, place, Worker())
            return
        if call.is_sent and not worker.executed:
            yield f"{place} is executed", self._execute(s, place, worker, call)
            if s.losses:
                yield f"the call of {place} was lost", _put(s, place, Worker())
            return
        yield f"{place} records {call.event}", self._record(s, place, worker, call)
        if call.event and not call.keeps_position and call.failure == worker.failure:
            later = worker._replace(checkpoint=call.checkpoint, call=None, executed=False)
            yield f"{place} records {call.event} later", _put(s, place, later)

    def _execute(self, s: State, place: int, worker: Worker, call: Call) -> State:
        last = s.journal[-1]
        is_fenced = last.publisher != worker.token or min(last.positions) != worker.start
        if is_fenced and self.variant != "checkpoint set back without a fence":
            return _put(s, place, Worker())
        reached = worker.start if call.keeps_position else call.event
        positions = (max(last.positions[0], reached), max(last.positions[1], reached))
        has_it = not call.keeps_position and last.positions[self.bucket(call.event)] >= call.event
        entry = Entry(0 if has_it else call.event, positions, last.publisher)
        done = worker._replace(executed=True, start=max(worker.start, reached))
        return _put(s._replace(journal=(*s.journal, entry)), place, done)

    def _record(self, s: State, place: int, worker: Worker, call: Call) -> State:
        # Also what a former owner has published: this record passes it.
        if self.variant != "confirmed position of a former owner not recorded" or call.is_sent:
            s = s._replace(confirmed=(max(s.confirmed[0], worker.start), max(s.confirmed[1], worker.start)))
        if call.keeps_position:
            first = min(call.event, s.redriven[1]) if s.redriven[0] >= 0 else call.event
            s = s._replace(redriven=(max(s.redriven[0], worker.start), first))
        checkpoint, failure = call.checkpoint, call.failure
        after = worker._replace(checkpoint=checkpoint, recorded=checkpoint, failure=failure, call=None, executed=False)
        return _put(s._replace(checkpoint=checkpoint, failure=failure), place, after)

    def find_problem(self, s: State) -> str | None:
        if not s.losses and any(each.has_lost for each in s.workers):
            return "a loss is reported, and nothing was lost"
        owner = next((each for each in s.workers if each.token == s.token and not each.has_lost), None)
        is_at_rest = not any(each.call for each in s.workers) and s.failure is None
        if owner is None or not is_at_rest or s.checkpoint != len(self.keys):
            return None
        for key in "ab":
            handled = _handled(each.event for each in s.journal if each.event and self.keys[each.event - 1] == key)
            expected = [each for each in range(1, len(self.keys) + 1) if self.keys[each - 1] == key]
            if handled != expected:
                return f"a consumer handles {handled} of key {key}, not {expected}"
        return None


def _is_noticed(s: State, kept: int) -> bool:
    """Whether a position that was recorded is lost."""
    return any(each < confirmed for each, confirmed in zip(s.journal[kept - 1].positions, s.confirmed, strict=True))


def _has_redriven(s: State, kept: int) -> bool:
    """Whether a redriven message is lost."""
    return any(each.event and each.positions == before.positions for before, each in pairwise(s.journal[kept - 1 :]))


def _handled(delivered: Iterator[int]) -> list[int]:
    """Return the events that a consumer handles, whose mark is the last position that it has handled."""
    handled = list[int]()
    for each in delivered:
        if not handled or each > handled[-1]:
            handled.append(each)
    return handled


def _disconnected(worker: Worker) -> Worker:
    """Return a worker after the broker has died: only a call that is on its way may still be executed."""
    return worker if worker.call and worker.call.is_sent and not worker.executed else Worker()


def _put(s: State, place: int, worker: Worker) -> State:
    return s._replace(workers=(*s.workers[:place], worker, *s.workers[place + 1 :]))
