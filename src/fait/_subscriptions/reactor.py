"""A reactor answers events with effects: it sends, calls, asks for the next command.

Delivery is at least once: an event is handled again when the process dies before its checkpoint is written. What
goes through the context happens once all the same: `ctx.execute` runs in the checkpoint's transaction, and decisions
and events made through the context carry ids made from the event's, so that a second time is recognised.

Where a handler allows it (`batch`), many events are recorded in one transaction. If one of their statements fails, they
are handled again one by one, and it shows whose fault it was.
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
from fait._store.ledger import HandlerStatement, UnitOfWork
from fait._subscriptions.failure import Retry
from fait._subscriptions.handler_calls import MAX_BATCH_DURATION_S, Handler, call_each
from fait._subscriptions.processor import ProcessingContext
from fait._telemetry import logger

__all__ = ["HANDLER_TIMEOUT_S", "Context", "Reactor", "ReactorDefinition", "Start"]

Start = Literal["beginning", "now"]

HANDLER_TIMEOUT_S: Final = 60.0
"""How long a handler may take for one event before it counts as failed."""


class ReactorDefinition:
    """A declared reactor: what `app.on` keeps."""

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
                f"batch={batch!r} of the handler {name!r}: it is a number of events, 1 to {PAGE_SIZE:,}"
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
    """Whether a handler takes the context beside the event, judged by how it can be called."""
    signature = inspect.signature(handler)
    for arguments in ((None, None), (None,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) > 1
    raise DeclarationError(f"the handler {name!r} must take the event, or the event and the context: {signature}")


class Context(Client):
    """What a handler is given beside the event, and what it can do once in effect.

    Attributes:
        at: the event with its envelope.
        attempt: 1 at first; more when it failed before.
    """

    def __init__(self, caller: Client, subscription: str, at: Envelope[Any], attempt: int) -> None:
        calls = Counter[str]()

        def key(what: str) -> str:
            calls[what] += 1
            return f"{subscription}/{at.id}/{what}/{calls[what]}"

        super().__init__(caller._log, caller._codec, caller._runner, keys=key)  # pyright: ignore[reportPrivateUsage]
        self.envelope = at
        self.attempt = attempt
        self.statements: list[HandlerStatement] = []

    def execute(self, sql: str, /, *values: Any) -> None:
        """Run an SQL statement in the transaction that records this event as handled: once, or not at all.

        It runs after the handler has returned. Values are parameters, never part of the text.
        """
        self.statements.append(HandlerStatement(sql, values))


class Reactor:
    """The subscription of one handler: one event at a time, in the order of the log, each until it succeeds."""

    definition_hash = ""

    def __init__(self, reaction: ReactorDefinition, codec: Codec, caller: Client) -> None:
        self.name = reaction.name
        self.start: Start = reaction.start
        self._handled = codec.registry.handled_types(reaction.events)
        self.may_expire = codec.registry.may_expire(self._handled)
        self.query = self._handled.query
        self._definition = reaction
        self._codec = codec
        self._client = caller
        self._last_failure = (0, 0)
        self._one_by_one_until = 0

    async def handle(self, page: Page, context: ProcessingContext) -> None:
        """Handle a page's events, each recorded before the next is begun, or each batch before the next batch."""
        left = [stored for stored in page.events if self._codec.registry.handles(self._handled, stored.type)]
        while left and not context.stopping:
            done = await self._handle_batch(left[: self._definition.batch], context)
            if not done:
                await self._handle_with_retries(left[0], context)
            left = left[done or 1 :]
        if page.position > context.position and not context.stopping:
            context.skip_to(page.position)

    async def _handle_batch(self, batch: Sequence[RecordedEvent], desk: ProcessingContext) -> int:
        """Handle the first events of a batch and record them at once, up to one that fails; how many they are."""
        if len(batch) == 1 or batch[0].position <= self._one_by_one_until:
            return 0
        try:
            contexts = [self._context(stored) for stored in batch]
        except Exception:  # one of them cannot be read: those before it can be handled
            return self._split_batch(batch)
        done, problem = await self._call(contexts, desk)
        away = isinstance(problem, StoreUnavailable | LeaseLost)  # not the event's fault
        if problem is not None and not away:
            self._last_failure = (batch[done].position, self._failures(batch[done]) + 1)
        try:
            # fault: recorded-part-repeated
            if done:
                await self._record(batch[done - 1], contexts[:done], desk)
        except (StoreUnavailable, LeaseLost):
            raise
        except Exception:  # a statement of one of them
            return self._split_batch(batch)
        if problem is not None and away:
            raise problem
        return done

    def _split_batch(self, batch: Sequence[RecordedEvent]) -> int:
        self._one_by_one_until = batch[-1].position
        logger.info("%s handles the events up to %d one by one", self.name, self._one_by_one_until)
        return 0

    async def _handle_with_retries(self, stored: RecordedEvent, desk: ProcessingContext) -> None:
        """Handle an event and record it, again and again until that succeeds or the system stops."""
        # fault: reactor-stops-retrying
        while not desk.stopping:
            context = self._context(stored)
            try:
                _, problem = await self._call([context], desk)
                if problem is not None:
                    raise problem
                await self._record(stored, [context], desk)
                return
            except (StoreUnavailable, LeaseLost):
                raise  # not the event's fault: the processor waits
            except Exception as problem:
                self._last_failure = (stored.position, self._failures(stored) + 1)
                pause_s = self._definition.retry.delay_s(self._failures(stored))
                desk.failed(problem)
                logger.warning(
                    "%s failed at position %d, attempt %d (%s: %s); again in %.2f s",
                    self.name, stored.position, self._failures(stored), type(problem).__name__, problem, pause_s,
                )  # fmt: skip
                await desk.back_off(pause_s)

    def _failures(self, stored: RecordedEvent) -> int:
        """How often an event has failed here in a row, whoever had the lease meanwhile."""
        position, failures = self._last_failure
        return failures if position == stored.position else 0

    def _context(self, stored: RecordedEvent) -> Context:
        return Context(self._client, self.name, self._codec.decode_envelope(stored), self._failures(stored) + 1)

    async def _call(self, contexts: Sequence[Context], desk: ProcessingContext) -> tuple[int, Exception | None]:
        """Call the handler for these events until it is time to record; how many are done, and what the next raised."""
        of, end = self._definition, time.monotonic() + MAX_BATCH_DURATION_S
        return await call_each(
            of.handler, contexts, pass_call=of.wants_context, timeout_s=of.timeout_s,
            may_continue=lambda: not desk.stopping and time.monotonic() < end,
        )  # fmt: skip

    async def _record(self, last: RecordedEvent, contexts: Sequence[Context], desk: ProcessingContext) -> None:
        statements = [statement for context in contexts for statement in context.statements]
        await desk.record(
            UnitOfWork(self.name, desk.position, last.position, desk.fencing_token, statements=statements)
        )
        desk.recovered()
