"""Measures a system: its commands, appends and subscriptions, for a `Telemetry`.

A system without telemetry uses none of this: the log, the recorder and the subscriptions are wrapped when it is opened.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from fait._clock import Clock
from fait._events.append import AppendCondition, Appended, AppendResult, ConditionFailed, StreamWrite, VersionConflict
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.event import NOTHING_DECIDED
from fait._events.stream import category_of
from fait._store.ports.leases import Outage, Range, backlog_of
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RecordResult, UnitOfWork
from fait._subscriptions.processor_group import ProcessorGroup
from fait._subscriptions.subscription import Outcome, ProcessingContext, Subscription, Tenure
from fait._telemetry import Telemetry, caused_by, logger, origin, outcome_of

__all__ = ["ObservedSubscription", "observe_commands", "observe_store", "report_periodically"]

REPORT_INTERVAL_S: Final = 15.0
"""Interval between measurements of the head and of the positions of subscriptions."""


class _Part:
    """A port of which some methods are measured; the others are those of the port."""

    def __init__(self, port: Any, telemetry: Telemetry) -> None:
        self._port = port
        self._telemetry = telemetry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def _count_events(self, appended: Iterable[tuple[str, EncodedEvent]]) -> None:
        counted = Counter((category_of(stream), event.type) for stream, event in appended)
        for (category, type), number in counted.items():
            if type != NOTHING_DECIDED:
                self._telemetry.count("fait.events.appended", number, {"category": category, "type": type})


class _ObservedLog(_Part):
    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        category, outcome, started = category_of(writes[0].stream) if writes else "", "error", time.perf_counter()
        try:
            result = await self._port.append(writes, condition)
            outcome = self._report(result, writes, category)
            return result
        finally:
            attributes = {"category": category, "outcome": outcome}
            self._telemetry.measure("fait.append.duration", time.perf_counter() - started, attributes)

    def _report(self, result: AppendResult, writes: Sequence[StreamWrite], category: str) -> str:
        """Count the events of an append; return its outcome."""
        if isinstance(result, Appended):
            # fault: repeated-append-counted
            if not result.repeated:
                self._count_events((write.stream, event) for write in writes for event in write.events)
            return "ok"
        if isinstance(result, VersionConflict | ConditionFailed):
            self._telemetry.count("fait.append.conflicts", 1, {"category": category})
            return "conflict"
        return "error"


class _ObservedRecorder(_Part):
    async def record(self, work: UnitOfWork) -> RecordResult:
        result = await self._port.record(work)
        if result == "recorded" and work.append is not None:
            self._count_events(work.append.events)
        return result


class _ObservedStore(_Part):
    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        super().__init__(store, telemetry)
        self.log = _ObservedLog(store.log, telemetry)
        self.recorder = _ObservedRecorder(store.recorder, telemetry)


def observe_store(store: Store, telemetry: Telemetry | None) -> Store:
    """Return a store whose appends are measured; the same store without telemetry."""
    return store if telemetry is None else cast("Store", _ObservedStore(store, telemetry))


def observe_commands(telemetry: Telemetry) -> Callable[[str, str], Any]:
    """Return a function that measures a command: from its name and the category of its stream to a context manager.

    The events of the command carry the `traceparent` of its span.
    """

    @contextmanager
    def observe(command: str, category: str) -> Generator[None]:
        started, failure = time.perf_counter(), None
        attributes = {"fait.stream.category": category} if category else {}
        try:
            # fault: command-span-without-parent
            parent = origin().traceparent
            span = telemetry.span(f"fait.command {command}", "internal", attributes, parent=parent)
            with span as traceparent, caused_by(traceparent=traceparent):
                yield
        except BaseException as error:
            failure = error
            raise
        finally:
            measured = {"command": command, "outcome": outcome_of(failure)}
            telemetry.measure("fait.command.duration", time.perf_counter() - started, measured)

    return observe


class _Trace(Struct):
    """The part of an event's metadata that a span links to."""

    traceparent: str | None = None


class ObservedSubscription:
    """A subscription whose calls are spans, linked to the commands that caused the events."""

    def __init__(self, subscription: Subscription, telemetry: Telemetry) -> None:
        self.definition = subscription.definition
        self._subscription = subscription
        self._telemetry = telemetry

    def key_of(self, event: RecordedEvent) -> str | None:
        """Return the order key of an event."""
        return self._subscription.key_of(event)

    def keys_of(self, event: RecordedEvent) -> Collection[str]:
        """Return all order keys of an event."""
        return self._subscription.keys_of(event)

    async def begin(self, tenure: Tenure) -> None:
        """Open what the work under a lease needs."""
        await self._subscription.begin(tenure)

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        """Handle events, in a span."""
        name, outcome, started = self.definition.name, None, time.perf_counter()
        attributes = {"fait.subscription": name, "fait.event_count": len(events)}
        try:
            with self._telemetry.span(f"process {name}", "consumer", attributes, links=_traceparents(events)):
                outcome = await self._subscription.handle(events, context)
                # fault: failed-attempt-ends-span-ok
                if outcome.error is not None:
                    raise outcome.error
                return outcome
        except Exception as error:
            self._telemetry.count("fait.subscription.errors", 1, {"name": name, "error": type(error).__name__})
            if outcome is None:
                raise
            return outcome
        finally:
            self._telemetry.measure("fait.handle.duration", time.perf_counter() - started, {"name": name})


def _traceparents(events: Sequence[RecordedEvent]) -> list[str]:
    traces = (msgspec.json.decode(event.metadata, type=_Trace).traceparent for event in events)
    return list(dict.fromkeys(each for each in traces if each is not None))


async def report_periodically(
    groups: Collection[ProcessorGroup], store: Store, clock: Clock, telemetry: Telemetry
) -> None:
    """Measure the head and the positions of subscriptions at intervals. A subscription that stands still is seen, too.

    Args:
        groups: the subscriptions, which run in this process or another one.
        store: the store.
        clock: the clock of the system.
        telemetry: gets the measurements.
    """
    while True:
        try:
            await _report(groups, store, clock, telemetry)
        except Exception as error:  # the next report may succeed
            logger.warning("failed to measure the subscriptions, retrying: error=%r", error)
        await asyncio.sleep(REPORT_INTERVAL_S)


async def _report(groups: Collection[ProcessorGroup], store: Store, clock: Clock, telemetry: Telemetry) -> None:
    ranges = await store.leases.ranges()
    workers = await store.leases.workers() if any(each.definition.is_received for each in groups) else []
    failed = Counter((each.subscription, each.state == "parked") for each in await store.failures.failures())
    head = await store.log.head()
    telemetry.measure("fait.store.head_position", head, {})
    for group in groups:
        own = [each for each in ranges if each.key.subscription == group.name]
        position = group.position_in(own)
        labels = {"name": group.name}
        telemetry.measure("fait.subscription.position", position, labels)
        telemetry.measure("fait.subscription.outage", _outage_s(own, clock), labels)
        # fault: failed-keys-not-measured
        for state, is_parked in (("parked", True), ("retrying", False)):
            telemetry.measure(
                "fait.subscription.failed_keys", failed[group.name, is_parked], {**labels, "state": state}
            )
        lag = backlog_of(group.name, own, workers) if group.definition.is_received else max(0, head - position)
        if lag is not None:
            telemetry.measure("fait.subscription.lag_events", lag, labels)
        if not group.definition.is_received:  # no broker tells how old its messages are
            age_s = await _age_s(store, position, clock) if position < head else 0
            telemetry.measure("fait.subscription.lag", age_s, labels)


def _outage_s(ranges: Iterable[Range], clock: Clock) -> float:
    """Return for how many seconds a range has waited because of an error; 0: none does."""
    outages = (msgspec.json.decode(each.health, type=Outage) for each in ranges if each.health)
    return max((max(0.0, (clock.now() - each.since).total_seconds()) for each in outages), default=0.0)


async def _age_s(store: Store, after: int, clock: Clock) -> float:
    """Return the age of the first event after a position, in seconds."""
    page = await store.log.read(after, limit=1)
    return max(0, (clock.now() - page.events[0].recorded_at).total_seconds()) if page.events else 0
