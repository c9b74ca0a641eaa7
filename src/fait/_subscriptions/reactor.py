"""A reactor handles events and causes effects: it sends e-mails, calls services, issues commands.

Delivery is at least once: an event is redelivered when the process dies before its checkpoint is written. Effects made
through the handler context nevertheless take place once: `ctx.execute` runs in the checkpoint's transaction, and events
appended through the context have ids derived from the handled event, so that a repetition is recognized.

With `batch`, several events are recorded in one transaction. If one of their statements fails, they are handled again
one by one, which isolates the failing event.
"""

import inspect
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

from fait._decisions.client import Client
from fait._errors import DeclarationError, LeaseLost, StoreUnavailable
from fait._events.append import PAGE_SIZE, Page
from fait._events.codec import Codec
from fait._events.envelope import Envelope, RecordedEvent
from fait._store.ports.registrations import Kind
from fait._store.ports.unit_of_work import HandlerStatement
from fait._subscriptions.failure import Retry
from fait._subscriptions.handler_calls import MAX_BATCH_DURATION_S, Handler, call_each
from fait._subscriptions.processor import ProcessingContext
from fait._telemetry import logger

__all__ = ["HANDLER_TIMEOUT_S", "Context", "Reactor", "ReactorDefinition", "Start"]

Start = Literal["beginning", "now"]

HANDLER_TIMEOUT_S: Final = 60.0
"""Default timeout for a handler to handle one event."""


class ReactorDefinition:
    """A reactor as declared with `app.on`."""

    def __init__(
        self,
        name: str,
        events: tuple[type, ...],
        handler: Handler,
        start: Start,
        retry: Retry,
        timeout_s: float,
        batch: int,
    ) -> None:
        if not 1 <= batch <= PAGE_SIZE:
            raise DeclarationError(
                f"handler {name!r}: batch must be a number of events, 1 to {PAGE_SIZE:,}; got {batch!r}"
            )
        self.name = name
        self.events = events
        self.handler = handler
        self.start: Start = start
        self.retry = retry
        self.timeout_s = timeout_s
        self.batch = batch
        self.wants_context: bool = _wants_context(name, handler)


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

    It appends events and runs commands like a system. These take effect once even if the event is handled several
    times, because the ids of the appended events are derived from the handled event.

    Attributes:
        envelope: the handled event with its position, stream and metadata.
        attempt: 1 for the first attempt, one more after each failure in this process.
    """

    def __init__(self, client: Client, subscription: str, envelope: Envelope[Any], attempt: int) -> None:
        calls = Counter[str]()

        def key(intention: str) -> str:
            calls[intention] += 1
            return f"{subscription}/{envelope.id}/{intention}/{calls[intention]}"

        super().__init__(client._log, client._loader, client._clock, keys=key)  # pyright: ignore[reportPrivateUsage]
        self.envelope = envelope
        self.attempt = attempt
        self.statements: list[HandlerStatement] = []

    def execute(self, sql: str, /, *values: Any) -> None:
        """Add a SQL statement to the transaction that moves the checkpoint past this event.

        The statement runs after the handler has returned, and takes effect exactly once. If it fails, the event is
        handled again, as after an exception of the handler. The tables that it uses must exist: create them in a
        migration of the application. The `memory:` store runs no SQL.

        Args:
            sql: a single statement, with the placeholders $1, $2 and so on. It must not control the transaction, change
                settings or write to fait's own tables.
            *values: one value per placeholder, bound as a parameter. On SQLite: None, bool, int, float, str or bytes.
                On PostgreSQL: values that asyncpg accepts for the type of the parameter, such as datetime, Decimal or
                UUID.
        """
        self.statements.append(HandlerStatement(sql, values))


class Reactor:
    """The subscription of one handler. It retries an event until the handler succeeds, then handles the next."""

    kind: Kind = "reactor"
    definition_hash = ""

    def __init__(self, definition: ReactorDefinition, codec: Codec, client: Client) -> None:
        self.name = definition.name
        self.start: Start = definition.start
        self._handled = codec.registry.handled_types(definition.events)
        self.may_expire = codec.registry.may_expire(self._handled)
        self.query = self._handled.query
        self._definition = definition
        self._codec = codec
        self._client = client
        self._last_failure = (0, 0)  # position, consecutive failures
        self._one_by_one_until = 0

    async def handle(self, page: Page, context: ProcessingContext) -> None:
        """Handle the events of a page in batches. Each batch is recorded before the next one starts."""
        events = [event for event in page.events if self._codec.registry.handles(self._handled, event.type)]
        while events and not context.stopping:
            handled = await self._handle_batch(events[: self._definition.batch], context)
            if not handled:
                await self._handle_with_retries(events[0], context)
            events = events[handled or 1 :]
        if page.position > context.position and not context.stopping:
            context.skip_to(page.position)

    async def _handle_batch(self, batch: Sequence[RecordedEvent], processing: ProcessingContext) -> int:
        """Handle the events of a batch up to the first failure, and record them in one transaction.

        Returns the number of recorded events. After 0, the first event must be handled alone.
        """
        if len(batch) == 1 or batch[0].position <= self._one_by_one_until:
            return 0
        try:
            contexts = [self._context(event) for event in batch]
        except Exception:  # an event cannot be decoded; those before it can still be handled
            return self._split_batch(batch)
        handled, error = await self._call(contexts, processing)
        outage = isinstance(error, StoreUnavailable | LeaseLost)
        if error is not None and not outage:
            self._last_failure = (batch[handled].position, self._failures(batch[handled]) + 1)
        try:
            # fault: recorded-part-repeated
            if handled:
                await self._record(batch[handled - 1], contexts[:handled], processing)
        except (StoreUnavailable, LeaseLost):
            raise
        except Exception:  # a statement failed
            return self._split_batch(batch)
        if error is not None and outage:
            raise error
        return handled

    def _split_batch(self, batch: Sequence[RecordedEvent]) -> int:
        self._one_by_one_until = batch[-1].position
        logger.info(
            "batch failed, handling its events one by one: subscription=%s position=%d last_position=%d",
            self.name, batch[0].position, self._one_by_one_until,
        )  # fmt: skip
        return 0

    async def _handle_with_retries(self, event: RecordedEvent, processing: ProcessingContext) -> None:
        """Handle and record an event; retry until that succeeds or the processor stops."""
        # fault: reactor-stops-retrying
        while not processing.stopping:
            context = self._context(event)
            try:
                _, error = await self._call([context], processing)
                if error is not None:
                    raise error
                await self._record(event, [context], processing)
                return
            except (StoreUnavailable, LeaseLost):
                raise  # not a failure of this event: the processor restarts the subscription
            except Exception as error:
                self._last_failure = (event.position, self._failures(event) + 1)
                delay_s = self._definition.retry.delay_s(self._failures(event))
                processing.failed(error)
                logger.warning(
                    "handler failed, retrying in %.2f s: subscription=%s position=%d stream=%s type=%s event_id=%s "
                    "attempt=%d error=%r",
                    delay_s, self.name, event.position, event.stream, event.type, event.id, context.attempt, error,
                )  # fmt: skip
                await processing.back_off(delay_s)

    def _failures(self, event: RecordedEvent) -> int:
        """Consecutive failures of an event in this process, also if the lease was lost between them."""
        position, failures = self._last_failure
        return failures if position == event.position else 0

    def _context(self, event: RecordedEvent) -> Context:
        return Context(self._client, self.name, self._codec.decode_envelope(event), self._failures(event) + 1)

    async def _call(self, contexts: Sequence[Context], processing: ProcessingContext) -> tuple[int, Exception | None]:
        """Call the handler for events until one fails, the time is up or the processor stops.

        Returns the number of events handled, and the error of the next.
        """
        definition, end = self._definition, time.monotonic() + MAX_BATCH_DURATION_S
        return await call_each(
            definition.handler, contexts, pass_call=definition.wants_context, timeout_s=definition.timeout_s,
            may_continue=lambda: not processing.stopping and time.monotonic() < end,
        )  # fmt: skip

    async def _record(self, last: RecordedEvent, contexts: Sequence[Context], processing: ProcessingContext) -> None:
        statements = [statement for context in contexts for statement in context.statements]
        await processing.record(last.position, statements=statements)
        processing.recovered()
