"""A model of one range: lease, fencing token, position, and the events that a handler appends.

Workers stop at any step and continue after another one has acquired the range; they crash; a record that was sent may
be executed after its worker has crashed or stopped waiting, and its answer may be lost. An attempt of a handler makes
two calls, x and y, each time in another order, and with another argument for x. A writer that is no handler appends
once to the stream that the handler's decisions depend on.

In the design, calls only collect events, and the record stores them: after it has compared the fencing token and the
version of the stream. Variants are faulty designs.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tests.models.explore import Exploration, explore

Variant = Literal[
    "",
    "fencing token ignored",
    "fencing token compared after the events are stored",
    "range read again after a lost answer",
    "record sent again after a lost answer",
    "stored when called, named by order",
    "stored when called, named by content",
    "conflict ignored",
    "conflict skips the event",
    "events of a failed attempt kept",
]

PLANS = (("x0", "y"), ("y", "x1"))
"""The calls of an attempt: x with an argument, and y."""


class Record(NamedTuple):
    """A unit of work that was sent: moves the range past one event."""

    token: int
    position: int
    appends: tuple[str, ...]
    seen: int


class Worker(NamedTuple):
    """A worker.

    Attributes:
        name: id of this process; 0: it does not run.
        token: its fencing token; 0: it believes to own nothing.
        position: position of the range, as it knows it.
        plan: remaining calls of the current attempt; None: none is running.
        appends: events of the calls so far.
        seen: version of the stream that the attempt's decisions have read.
        waiting: whether it waits for the answer of a record.
        unsure: whether an answer was lost.
    """

    name: int
    token: int = 0
    position: int = 0
    plan: tuple[str, ...] | None = None
    appends: tuple[str, ...] = ()
    seen: int = 0
    waiting: bool = False
    unsure: bool = False


class State(NamedTuple):
    """The database, the workers and what was sent."""

    owner: int
    token: int
    position: int
    log: tuple[tuple[int, str], ...]
    call_names: frozenset[tuple[int, str]]
    version: int
    stale: bool
    registered: frozenset[int]
    workers: tuple[Worker, ...]
    sent: tuple[tuple[int, Record], ...]
    names: int
    faults: int


def check(variant: Variant = "", *, events: int = 1, workers: int = 2, faults: int = 1, names: int = 3) -> Exploration:
    """Explore a design.

    Args:
        variant: the faulty design; "": the design of fait.
        events: number of events to handle.
        workers: number of workers at a time.
        faults: maximum number of crashes, failures of the handler and lost answers.
        names: maximum number of processes that ever start, and of expired heartbeats.
    """
    start = State(0, 1, 0, (), frozenset(), 0, False, frozenset(), (Worker(0),) * workers, (), 0, 0)
    model = _Model(variant, events, faults, names)
    return explore(start, model.steps, model.find_problem)


class _Model(NamedTuple):
    variant: Variant
    events: int
    faults: int
    names: int

    @property
    def stores_when_called(self) -> bool:
        return self.variant.startswith("stored when called")

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        if s.version == 0:
            yield "another writer appends", s._replace(version=1)
        for index, (place, record) in enumerate(s.sent):
            yield from self._execute(s._replace(sent=s.sent[:index] + s.sent[index + 1 :]), place, record)
        for place, worker in enumerate(s.workers):
            yield from self._worker_steps(s, place, worker)

    def _execute(self, s: State, place: int, record: Record) -> Iterator[tuple[str, State]]:
        """The database executes a record, and the worker gets the answer or does not."""
        worker = s.workers[place]
        expects_answer = worker.waiting and worker.token == record.token
        stored = tuple((record.position, each) for each in record.appends)
        if self.variant == "fencing token compared after the events are stored":
            s, stored = s._replace(log=s.log + stored), ()
        if record.token != s.token and self.variant != "fencing token ignored":
            yield f"refuse {place}", _put(s, place, Worker(worker.name)) if expects_answer else s
            return
        if record.seen != s.version and self.variant == "conflict ignored":
            s = s._replace(stale=True)
        elif record.seen != s.version and self.variant == "conflict skips the event":
            stored = ()
        elif record.seen != s.version:
            again = worker._replace(waiting=False)
            yield f"conflict of {place}", _put(s, place, again) if expects_answer else s
            return
        s = s._replace(position=record.position, log=s.log + stored)
        if not expects_answer:
            yield f"late record of {place}", s
            return
        yield f"record {place}", _put(s, place, worker._replace(waiting=False, position=record.position))
        if s.faults < self.faults:
            lost = _put(s, place, worker._replace(waiting=False, unsure=True))
            yield f"record {place}, answer lost", lost._replace(faults=s.faults + 1)

    def _worker_steps(self, s: State, place: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if not worker.name:
            if s.names < self.names:
                started = _put(s, place, Worker(s.names + 1))
                yield f"start {place}", started._replace(names=s.names + 1, registered=s.registered | {s.names + 1})
            return
        if s.faults < self.faults:
            yield f"crash {place}", _put(s, place, Worker(0))._replace(faults=s.faults + 1)
        if worker.name in s.registered and s.names < self.names:
            yield f"expire {place}", s._replace(registered=s.registered - {worker.name}, names=s.names + 1)
        if worker.unsure:
            yield f"{place} is unsure", _put(s, place, self._after_lost_answer(s, worker))
        elif not worker.token:
            is_free = s.owner == worker.name or s.owner not in s.registered
            if is_free and worker.name in s.registered:
                acquired = s._replace(owner=worker.name, token=s.token + 1)
                yield f"{place} acquires", _put(acquired, place, Worker(worker.name, s.token + 1, s.position))
        elif worker.waiting:
            if s.faults < self.faults:
                unsure = _put(s, place, worker._replace(waiting=False, unsure=True))
                yield f"{place} stops waiting", unsure._replace(faults=s.faults + 1)
        else:
            yield from self._handler_steps(s, place, worker)

    def _after_lost_answer(self, s: State, worker: Worker) -> Worker:
        owns = s.owner == worker.name
        if self.variant == "range read again after a lost answer" and owns:
            return Worker(worker.name, s.token, s.position)
        if self.variant == "record sent again after a lost answer" and owns:
            return worker._replace(token=s.token, plan=(), unsure=False)
        return Worker(worker.name)  # acquires the range again: what was sent has an old token

    def _handler_steps(self, s: State, place: int, worker: Worker) -> Iterator[tuple[str, State]]:
        event = worker.position + 1
        if worker.plan is None:
            if event <= self.events:
                kept = worker.appends if self.variant == "events of a failed attempt kept" else ()
                for plan in PLANS:
                    begun = worker._replace(plan=plan, appends=kept, seen=s.version)
                    yield f"{place} handles {event}: {plan}", _put(s, place, begun)
        elif worker.plan:
            if s.faults < self.faults:
                failed = _put(s, place, worker._replace(plan=None))
                yield f"handler of {place} fails", failed._replace(faults=s.faults + 1)
            yield f"{place} calls {worker.plan[0]}", self._call(s, place, worker, event)
        else:
            if s.faults < self.faults:
                failed = _put(s, place, worker._replace(plan=None))
                yield f"handler of {place} fails", failed._replace(faults=s.faults + 1)
            record = Record(worker.token, event, worker.appends, s.version if self.stores_when_called else worker.seen)
            sent = _put(s, place, worker._replace(plan=None, waiting=True))
            yield f"{place} sends a record", sent._replace(sent=(*s.sent, (place, record)))

    def _call(self, s: State, place: int, worker: Worker, event: int) -> State:
        assert worker.plan
        if not self.stores_when_called:  # calls that change nothing but their worker are one step
            return _put(s, place, worker._replace(plan=(), appends=worker.appends + worker.plan))
        call, *remaining = worker.plan
        following = worker._replace(plan=tuple(remaining))
        name = (event, call if self.variant.endswith("content") else str(len(remaining)))
        if name not in s.call_names:
            s = s._replace(log=(*s.log, (event, call)), call_names=s.call_names | {name})
        return _put(s, place, following)

    def find_problem(self, s: State) -> str | None:
        if s.stale:
            return "events were stored that were decided on an old version"
        for event in range(1, self.events + 1):
            for call in "xy":
                count = sum(1 for at, name in s.log if at == event and name[0] == call)
                if count > 1:
                    return f"{call} of event {event} is stored twice"
                if event <= s.position and not count:
                    return f"{call} of event {event} is lost"
                if event > s.position and count and not self.stores_when_called:
                    return f"{call} of event {event} is stored, but the event is not recorded"
        return None


def _put(s: State, place: int, worker: Worker) -> State:
    return s._replace(workers=(*s.workers[:place], worker, *s.workers[place + 1 :]))
