"""A model of a key that fails: retried, parked, redriven, discarded, and handed back to the live lane.

There is one range, and a log with events of the keys "a", whose handler may fail, and "b". A worker acquires the range
at any step, also again after it has lost it or has crashed, and a record is executed after it was sent. An event of a
key with a failure is finished if it is below the failure's next position; of another key, if it is at or below the
frontier and not pending.

In the design, a key leaves the live lane at its first failure: the record of the failure moves the frontier, and the
queued events of the key are dropped. Only the owner handles events, of a failed key only up to its frontier. A record
that changes a failure names the one that it expects, so that it does not overwrite a request of an operator. Variants
are faulty designs.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tests.models.explore import Exploration, explore

Variant = Literal[
    "",
    "hand-back without the remaining events",
    "redrive beyond the frontier",
    "redrive by another process",
    "expected failure ignored",
    "failure in a transaction of its own",
]
FailureState = Literal["retrying", "parked", "redriving", "discarding"]


class Failure(NamedTuple):
    """The failure of the key "a"."""

    state: FailureState
    next_position: int


class Record(NamedTuple):
    """A unit of work: the range and the failure afterwards, and what it does with one event."""

    token: int
    frontier: int
    queue: tuple[int, ...]
    expected: Failure | None
    failure: Failure | None
    handled: int = 0
    discarded: int = 0


class Worker(NamedTuple):
    """A worker, with the range as it knows it. `token` 0: it owns nothing. `queue`: unfinished events."""

    token: int = 0
    frontier: int = 0
    queue: tuple[int, ...] = ()
    failure: Failure | None = None
    sent: Record | None = None
    late: Failure | None = None


class State(NamedTuple):
    """The database, the workers, and how often something has happened."""

    token: int = 1
    frontier: int = 0
    pending: tuple[int, ...] = ()
    failure: Failure | None = None
    effects: tuple[int, ...] = ()
    discarded: frozenset[int] = frozenset()
    workers: tuple[Worker, ...] = (Worker(), Worker())
    appended: int = 0
    failures: int = 0
    take_overs: int = 0
    requests: int = 0
    is_overwritten: bool = False


def check(
    variant: Variant = "", *, keys: str = "aab", failures: int = 2, take_overs: int = 2, requests: int = 1
) -> Exploration:
    """Explore a design.

    Args:
        variant: the faulty design; "": the design of fait.
        keys: key of the event at each position.
        failures: maximum number of failures of the handler.
        take_overs: maximum number of times that a worker acquires the range.
        requests: maximum number of requests of operators.
    """
    model = _Model(variant, keys, failures, take_overs, requests)
    return explore(State(), model.steps, model.find_problem)


class _Model(NamedTuple):
    variant: Variant
    keys: str
    failures: int
    take_overs: int
    requests: int

    def events_of_a(self, first: int, last: int) -> list[int]:
        return [each for each in range(first, last + 1) if self.keys[each - 1] == "a"]

    def next_of_a(self, event: int, frontier: int) -> int:
        """Return the next event of the key, as far as a reader up to the frontier sees it."""
        return next(iter(self.events_of_a(event + 1, frontier)), frontier + 1)

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        if s.appended < len(self.keys):
            yield f"append {s.appended + 1}", s._replace(appended=s.appended + 1)
        if s.failure and s.failure.state == "parked" and s.requests < self.requests:
            for state in ("redriving", "discarding"):
                requested = s._replace(failure=s.failure._replace(state=state), requests=s.requests + 1)
                yield f"an operator requests {state}", requested
        if self.variant == "redrive by another process" and s.failure and s.failure.state == "redriving":
            yield self._redrive_elsewhere(s, s.failure)
        for place, worker in enumerate(s.workers):
            if s.take_overs < self.take_overs and worker.sent is None:
                owner = Worker(s.token + 1, s.frontier, s.pending, s.failure)
                acquired = s._replace(token=s.token + 1, take_overs=s.take_overs + 1)
                yield f"{place} acquires", _put(acquired, place, owner)
            if worker.sent is not None:
                yield f"record of {place}", self._execute(s, place, worker, worker.sent)
            elif worker.late is not None:
                after = s._replace(failure=worker.late) if worker.token == s.token else s
                yield f"failure of {place}", _put(after, place, worker._replace(failure=worker.late, late=None))
            elif worker.token:
                yield from self._owner_steps(s, place, worker)

    def _redrive_elsewhere(self, s: State, failure: Failure) -> tuple[str, State]:
        event = failure.next_position
        if event > s.frontier:
            return "an operator's process hands back", s._replace(failure=None)
        moved = failure._replace(next_position=self.next_of_a(event, s.frontier))
        return f"an operator's process redrives {event}", s._replace(failure=moved, effects=(*s.effects, event))

    def _execute(self, s: State, place: int, worker: Worker, record: Record) -> State:
        changes_failure = record.expected != record.failure
        is_expected = not changes_failure or record.expected == s.failure
        if record.token != s.token or (not is_expected and self.variant != "expected failure ignored"):
            return _put(s, place, Worker())
        if self.variant == "expected failure ignored":
            lost = record.failure != s.failure and record.expected != s.failure
            s = s._replace(failure=record.failure, is_overwritten=s.is_overwritten or lost)
        elif changes_failure and worker.late is None:
            s = s._replace(failure=record.failure)
        s = s._replace(
            frontier=record.frontier,
            pending=record.queue,
            effects=(*s.effects, record.handled) if record.handled else s.effects,
            discarded=s.discarded | {record.discarded} if record.discarded else s.discarded,
        )
        known = record.failure if worker.late is None else worker.failure
        return _put(s, place, worker._replace(queue=record.queue, failure=known, sent=None))

    def _owner_steps(self, s: State, place: int, worker: Worker) -> Iterator[tuple[str, State]]:
        failure, event = worker.failure, worker.frontier + 1
        if worker.frontier < s.appended and len(worker.queue) < 3:
            is_passed = failure is not None and self.keys[event - 1] == "a"
            queue = worker.queue if is_passed else (*worker.queue, event)
            yield f"{place} takes {event}", _put(s, place, worker._replace(frontier=event, queue=queue))
        for key in "ab":
            queued = [each for each in worker.queue if self.keys[each - 1] == key]
            if queued and not (key == "a" and failure):
                yield from self._live_steps(s, place, worker, queued[0])
        if s.token == worker.token and failure and failure.state == "parked" and s.failure != failure:
            yield f"{place} sees the request", _put(s, place, worker._replace(failure=s.failure))
        if failure and failure.state != "parked":
            yield from self._failed_steps(s, place, worker, failure)

    def _live_steps(self, s: State, place: int, worker: Worker, event: int) -> Iterator[tuple[str, State]]:
        rest = tuple(each for each in worker.queue if each != event)
        yield f"{place} handles {event}", _send(s, place, worker, rest, worker.failure, handled=event)
        if self.keys[event - 1] == "a" and s.failures < self.failures:
            others = tuple(each for each in worker.queue if self.keys[each - 1] != "a")
            failed = _send(s._replace(failures=s.failures + 1), place, worker, others, Failure("retrying", event))
            if self.variant == "failure in a transaction of its own":
                sent = failed.workers[place]
                failed = _put(failed, place, sent._replace(late=Failure("retrying", event)))
            yield f"{place} fails at {event}", failed

    def _failed_steps(self, s: State, place: int, worker: Worker, failure: Failure) -> Iterator[tuple[str, State]]:
        last = s.appended if self.variant == "redrive beyond the frontier" else worker.frontier
        remaining = self.events_of_a(failure.next_position, last)
        if self.variant == "redrive by another process" and failure.state == "redriving":
            return
        for event in remaining[:1]:
            following = failure._replace(next_position=self.next_of_a(event, worker.frontier))
            if failure.state == "discarding":
                redriving = following._replace(state="redriving")
                yield f"{place} discards {event}", _send(s, place, worker, worker.queue, redriving, discarded=event)
                continue
            yield f"{place} handles {event} again", _send(s, place, worker, worker.queue, following, handled=event)
            if s.failures < self.failures or failure.state == "retrying":
                parked = s._replace(failures=s.failures + 1)
                yield f"{place} parks {event}", _send(parked, place, worker, worker.queue, Failure("parked", event))
        if len(remaining) <= 1 and failure.state != "discarding":
            back = () if self.variant == "hand-back without the remaining events" else tuple(remaining)
            queue = tuple(sorted((*worker.queue, *back)))
            yield f"{place} hands back", _send(s, place, worker, queue, None)

    def find_problem(self, s: State) -> str | None:
        if s.is_overwritten:
            return "a request of an operator is overwritten"
        for event in range(1, s.appended + 1):
            if s.effects.count(event) > 1:
                return f"the effect of {event} happened twice"
            failure = s.failure if self.keys[event - 1] == "a" else None
            is_live_finished = event <= s.frontier and event not in s.pending
            is_finished = event < failure.next_position if failure else is_live_finished
            has_happened = event in s.effects or event in s.discarded
            if is_finished and not has_happened:
                return f"{event} is finished and was never handled"
            if has_happened and not is_finished:
                return f"{event} was handled and would be handled again"
        for key in "ab":
            order = [each for each in s.effects if self.keys[each - 1] == key]
            if order != sorted(order):
                return f"events of key {key} were handled in the order {order}"
        return None


def _send(
    s: State,
    place: int,
    worker: Worker,
    queue: tuple[int, ...],
    failure: Failure | None,
    *,
    handled: int = 0,
    discarded: int = 0,
) -> State:
    """Send a record, which says what is unfinished up to the worker's frontier."""
    record = Record(worker.token, worker.frontier, queue, worker.failure, failure, handled, discarded)
    return _put(s, place, worker._replace(sent=record))


def _put(s: State, place: int, worker: Worker) -> State:
    return s._replace(workers=(*s.workers[:place], worker, *s.workers[place + 1 :]))
