"""A reactor handles events and causes effects: it sends e-mails, calls services, issues commands.

Delivery is at least once: an event is redelivered when the process dies before its checkpoint is written. Effects made
through the handler context nevertheless take place once: the statements of `ctx.execute` and the events appended
through the context are stored in the transaction that moves the checkpoint (`handler_log.py`).

With `batch`, several events are recorded in one transaction.
"""

import asyncio
import inspect
import time
from bisect import bisect_right
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final, Literal

from msgspec.structs import replace

from fait._arguments import check_functions, is_number
from fait._decisions.client import Client
from fait._errors import DeclarationError
from fait._events.append import PAGE_SIZE
from fait._events.codec import Codec
from fait._events.envelope import Envelope, RecordedEvent
from fait._store.ports.log import Log
from fait._store.ports.unit_of_work import HandlerStatement
from fait._subscriptions.failure import FailurePolicy, check_policy
from fait._subscriptions.handler_calls import MAX_BATCH_DURATION_S, Handler, HandlerThread, call_each
from fait._subscriptions.handler_log import HandlerBuffer, HandlerLoader, HandlerLog, merge_appends
from fait._subscriptions.subscription import (
    Outcome,
    ProcessingContext,
    Start,
    SubscriptionDefinition,
    Tenure,
    parts_of_options,
)
from fait._telemetry import logger

__all__ = ["HANDLER_TIMEOUT_S", "Context", "Reactor", "ReactorDefinition"]

HANDLER_TIMEOUT_S: Final = 60.0
"""Default timeout for a handler to handle one event."""


MAX_CONCURRENCY: Final = 500
"""Maximum number of concurrent calls of a handler in a process."""

BUSY_POLL_INTERVAL_S: Final = 0.05
"""Interval between two looks at a call that has passed its timeout."""


class ReactorDefinition:
    """A reactor as declared with `app.on`."""

    def __init__(
        self,
        name: str,
        events: tuple[type, ...],
        handler: Handler,
        start: Start,
        policy: FailurePolicy,
        timeout_s: float,
        batch: int,
        concurrency: int = 1,
        order_key: Literal["stream", "all"] = "stream",
    ) -> None:
        _check_options(name, handler, start, policy, timeout_s, batch)
        _check_order(name, concurrency, order_key)
        self.name = name
        self.events = events
        self.handler = handler
        self.start: Start = start
        # A parked event would set aside all others: the pause that this is shall be seen as one.
        # fault: parked-event-of-all-is-not-told
        self.policy = replace(policy, then="stop") if order_key == "all" and policy.then == "park" else policy
        self.timeout_s = timeout_s
        self.batch = batch
        self.concurrency = concurrency
        self.order_key: Literal["stream", "all"] = order_key
        self.wants_context: bool = _wants_context(name, handler)
        self.is_coroutine_function = inspect.iscoroutinefunction(handler)


def _check_options(name: Any, handler: Handler, start: Any, policy: Any, timeout_s: Any, batch: Any) -> None:
    """Raise `DeclarationError` for a wrong argument of `App.on`, also in code that no type checker has seen."""
    if not (isinstance(name, str) and name):
        raise DeclarationError(f"the name of a handler is a text that is not empty; got {name!r}")
    check_functions("app.on(...)", handler=handler)
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise DeclarationError(f"handler {name!r} contains yield, so a call of it runs none of its statements")
    if start not in ("beginning", "now"):
        raise DeclarationError(f"handler {name!r}: start must be 'beginning' or 'now'; got {start!r}")
    check_policy(f"handler {name!r}", policy)
    if not (is_number(timeout_s) and 0 < timeout_s < float("inf")):
        raise DeclarationError(f"handler {name!r}: timeout_s must be a number of seconds above 0; got {timeout_s!r}")
    if not (isinstance(batch, int) and is_number(batch) and 1 <= batch <= PAGE_SIZE):
        raise DeclarationError(f"handler {name!r}: batch must be a number of events, 1 to {PAGE_SIZE:,}; got {batch!r}")


def _check_order(name: str, concurrency: Any, order_key: Any) -> None:
    if not (isinstance(concurrency, int) and is_number(concurrency) and 1 <= concurrency <= MAX_CONCURRENCY):
        raise DeclarationError(
            f"handler {name!r}: concurrency must be a number of calls, 1 to {MAX_CONCURRENCY}; got {concurrency!r}"
        )
    if order_key not in ("stream", "all"):
        raise DeclarationError(f"handler {name!r}: order_key must be 'stream' or 'all'; got {order_key!r}")
    if order_key == "all" and concurrency > 1:
        raise DeclarationError(f"handler {name!r}: with order_key='all' one call runs at a time; remove concurrency=")


def _wants_context(name: str, handler: Handler) -> bool:
    """Return whether the handler's signature accepts the context as a second argument."""
    signature = inspect.signature(handler)
    for arguments in ((None, None), (None,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) > 1
    raise DeclarationError(
        f"handler {name!r} must take one argument, the event, or two, the event and the context; its signature is "
        f"{signature}"
    )


class Context(Client):
    """The handler context: the second argument of a handler.

    It appends events and runs commands like a system. Its events are stored after the handler has returned, in the
    transaction that moves the checkpoint past the handled event: exactly once, however often the event is handled. If
    the handler raises, nothing is stored.

    Later calls of the same handler read the events that it has appended; other readers do not before they are stored.
    Until then they have a provisional version, and a provisional position above those of all stored events. Do not
    store these numbers, and do not wait for the position.

    If another append has changed what a decision of the handler depends on, nothing is stored, and the event is handled
    again. This does not count as an attempt.

    Events that a handler appends through the system and not through its context are stored immediately, and again each
    time that the event is handled.

    Attributes:
        envelope: the handled event with its position, stream and metadata.
        schema_version: the schema version that the handled event is stored with, although the event was upcast. After a
            split, or an upcaster that takes the envelope, that of the class.
        attempt: 1 for the first attempt, one more after each failure, in any process.
    """

    def __init__(self, log: HandlerLog, client: Client, envelope: Envelope[Any], attempt: int) -> None:
        loader = HandlerLoader(client._any_loader, log)  # pyright: ignore[reportPrivateUsage]
        super().__init__(
            log,
            log.read_matching,
            loader,
            client._clock,  # pyright: ignore[reportPrivateUsage]
            affinity=client._affinity,  # pyright: ignore[reportPrivateUsage]
            observe=client._observe,  # pyright: ignore[reportPrivateUsage]
        )
        self._handler_log = log
        self.envelope = envelope
        self.attempt = attempt
        self.statements: list[HandlerStatement] = []

    @property
    def schema_version(self) -> int:
        """The schema version that the handled event is stored with; see `Envelope.schema_version`."""
        return self.envelope.schema_version

    def close(self) -> None:
        """Refuse further calls: the handler's call has ended."""
        self._handler_log.close()

    def execute(self, sql: str, /, *values: Any) -> None:
        """Add a SQL statement to the transaction that moves the checkpoint past this event.

        The statement runs after the handler has returned, before events of the handler are stored, and takes effect
        exactly once. If it fails, the event is handled again, as after an exception of the handler. The tables that it
        uses must exist: create them in a migration of the application. The `memory:` store runs no SQL.

        Args:
            sql: a single statement, with the placeholders $1, $2 and so on. It must not control the transaction, change
                settings or write to fait's own tables.
            *values: one value per placeholder, bound as a parameter. On SQLite: None, bool, int, float, str or bytes.
                On PostgreSQL: values that asyncpg accepts for the type of the parameter, such as datetime, Decimal or
                UUID.

        Raises:
            UsageError: the handler has returned or passed its timeout.
        """
        self._handler_log.check_open()
        self.statements.append(HandlerStatement(sql, values))


class HandlerThreads:
    """The threads of a handler that is not a coroutine function, one for each concurrent call.

    A call that has passed its timeout keeps its thread until it returns. Its key is not handled again before that.
    """

    def __init__(self, name: str, number: int) -> None:
        self._name = name
        self._free = [HandlerThread(name) for _ in range(number)]
        self._keys: dict[HandlerThread, str] = {}

    async def take(self, key: str, context: ProcessingContext) -> HandlerThread | None:
        """Return a thread, once no hung call of the key runs and a thread is free; None if the processor stops."""
        is_logged = False
        while (thread := self._idle(key)) is None and not context.stopping:
            if not is_logged:
                logger.warning(
                    "handler still runs after its timeout, waiting for it: subscription=%s",
                    self._name.removeprefix("fait-"),
                )
                is_logged = True
            await asyncio.sleep(BUSY_POLL_INTERVAL_S)
        if thread is None or context.stopping:
            return None
        self._free.remove(thread)
        self._keys[thread] = key
        return thread

    def _idle(self, key: str) -> HandlerThread | None:
        if any(each.is_busy and self._keys.get(each) == key for each in self._free):
            return None
        return next((each for each in self._free if not each.is_busy), None)

    def give_back(self, thread: HandlerThread) -> None:
        """Return a thread, which may still be busy with a hung call."""
        self._free.append(thread)


class Reactor:
    """The subscription of one handler."""

    def __init__(self, reactor: ReactorDefinition, codec: Codec, log: Log, client: Client) -> None:
        self._handled = codec.registry.handled_types(reactor.events)
        is_async = reactor.is_coroutine_function  # it needs no thread
        self._threads = None if is_async else HandlerThreads(f"fait-{reactor.name}", reactor.concurrency)
        self._reactor = reactor
        self._codec = codec
        self._log = log
        self._client = client
        self.definition = self._define()

    def _define(self) -> SubscriptionDefinition:
        reactor, codec, handled = self._reactor, self._codec, self._handled
        return SubscriptionDefinition(
            name=reactor.name,
            kind="reactor",
            handled_types=handled.query.types,
            ignored_types=codec.registry.ignored_types(handled),
            start=reactor.start,
            policy=reactor.policy,
            batch=reactor.batch,
            concurrency=reactor.concurrency,
            order_key=reactor.order_key,
            definition_hash="" if reactor.order_key == "stream" else f"order_key={reactor.order_key}",
            parts=partial(parts_of_options, {"order key": reactor.order_key}),
            may_expire=codec.registry.may_expire(handled),
        )

    def key_of(self, event: RecordedEvent) -> str:
        """Return the stream, or "" if all events are handled in order."""
        return "" if self.definition.order_key == "all" else event.stream

    def keys_of(self, event: RecordedEvent) -> Collection[str]:
        """Return the only key of an event."""
        return (self.key_of(event),)

    async def begin(self, tenure: Tenure) -> None:
        """Do nothing: it needs only the store."""

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        """Call the handler for events until one fails, the time is up or the processor stops."""
        if self._threads is None:
            return await self._handle(events, context, None)
        thread = await self._threads.take(self.key_of(events[0]), context)
        if thread is None:
            return Outcome(0)
        try:
            return await self._handle(events, context, thread)
        finally:
            self._threads.give_back(thread)

    async def _handle(
        self, events: Sequence[RecordedEvent], context: ProcessingContext, thread: HandlerThread | None
    ) -> Outcome:
        buffer = HandlerBuffer(check_ids=context.conflicts > 0)
        contexts, ends, undecodable = self._contexts(events, context.attempt, buffer)
        if not contexts:
            # fault: dropped-event-stops-handler
            return Outcome(len(ends), error=undecodable)
        reactor, end = self._reactor, time.monotonic() + MAX_BATCH_DURATION_S

        def may_continue(calls: int) -> bool:
            # An event that is read as several is recorded as a whole.
            return not context.stopping and (calls not in ends or time.monotonic() < end)

        calls, error = await call_each(
            reactor.handler, contexts, thread=thread, pass_call=reactor.wants_context, timeout_s=reactor.timeout_s,
            may_continue=may_continue,
        )  # fmt: skip
        finished = bisect_right(ends, calls)
        recorded = contexts[: ends[finished - 1]] if finished else []
        statements = [statement for each in recorded for statement in each.statements]
        # fault: events-of-failed-handler-stored
        append = merge_appends(append for each in recorded for append in each._handler_log.appends)  # pyright: ignore[reportPrivateUsage]
        if calls == len(contexts):
            error = undecodable
        elif finished and buffer.overflowed:  # the next unit of work has space for the event
            error = None
        return Outcome(finished, statements=statements, append=append, error=error)

    def _decode(self, event: RecordedEvent) -> list[Envelope[Any]]:
        return self._codec.decode_all(event, self._handled)

    def _contexts(
        self, events: Sequence[RecordedEvent], attempt: int, buffer: HandlerBuffer
    ) -> tuple[list[Context], list[int], Exception | None]:
        """Return handler contexts of the events up to one that cannot be decoded.

        Returns:
            The contexts, several for an event that is read as several, and none for a dropped one; for each event, the
            number of contexts up to its last one; and why the next event cannot be decoded.
        """
        contexts, ends = list[Context](), list[int]()
        for event in events:
            try:
                envelopes = self._decode(event)
            except Exception as error:
                return contexts, ends, error
            for each in envelopes:
                log = HandlerLog(self._log, self._client._clock, buffer)  # pyright: ignore[reportPrivateUsage]
                contexts.append(Context(log, self._client, each, 1 if any(ends) else attempt))
            ends.append(len(contexts))
        return contexts, ends, None
