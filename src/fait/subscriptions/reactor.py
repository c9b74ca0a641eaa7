"""A reactor answers events with effects: it sends, calls, asks for the next command.

Delivery is at least once: an event is handled again when the process dies before its checkpoint is written. What
goes through the context happens once all the same: `ctx.execute` runs in the checkpoint's transaction, and decisions
and events made through the context carry ids made from the event's, so that a second time is recognised.

Where a handler allows it (`batch`), many events are recorded in one transaction. If that fails, they are handled again
one by one, and it shows whose fault it was.
"""

import inspect
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

from fait.decisions.caller import Caller
from fait.errors import DeclarationError, LeaseLost, StoreUnavailable
from fait.events.append import PAGE, Page
from fait.events.codec import Codec
from fait.events.envelope import Recorded, StoredEvent
from fait.store.ledger import Statement, Work
from fait.subscriptions.calling import BATCH_S, Handler, call_each
from fait.subscriptions.failure import Retry
from fait.subscriptions.processor import Desk
from fait.telemetry import logger

__all__ = ["HANDLER_TIMEOUT_S", "Context", "Reaction", "Reactor", "Start"]

Start = Literal["beginning", "now"]

HANDLER_TIMEOUT_S: Final = 60.0
"""How long an async handler may take for one event before it counts as failed."""


class Reaction:
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
        if not 1 <= batch <= PAGE:
            raise DeclarationError(f"batch={batch!r} of the handler {name!r}: it is a number of events, 1 to {PAGE:,}")
        self.name = name
        self.events = events
        self.handler = handler
        self.start: Start = start
        self.retry = retry
        self.timeout_s = timeout_s
        self.batch = batch
        self.wants_context = _wants_context(name, handler)


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


class Context(Caller):
    """What a handler is given beside the event, and what it can do once in effect.

    Attributes:
        at: the event with its envelope.
        attempt: 1 at first; more when it failed before.
    """

    def __init__(self, caller: Caller, subscription: str, at: Recorded[Any], attempt: int) -> None:
        calls = Counter[str]()

        def key(what: str) -> str:
            calls[what] += 1
            return f"{subscription}/{at.id}/{what}/{calls[what]}"

        super().__init__(caller._log, caller._codec, caller._loop, keys=key)  # pyright: ignore[reportPrivateUsage]
        self.at = at
        self.attempt = attempt
        self.statements: list[Statement] = []

    def execute(self, sql: str, /, *values: Any) -> None:
        """Run an SQL statement in the transaction that records this event as handled: once, or not at all.

        It runs after the handler has returned. Values are parameters, never part of the text.
        """
        self.statements.append(Statement(sql, values))


class Reactor:
    """The subscription of one handler: one event at a time, in the order of the log, each until it succeeds."""

    fingerprint = ""

    def __init__(self, reaction: Reaction, codec: Codec, caller: Caller) -> None:
        self.name = reaction.name
        self.start: Start = reaction.start
        self._taken = codec.registry.taken(reaction.events)
        self.expiring = codec.registry.expiring(self._taken)
        self.query = self._taken.query
        self._reaction = reaction
        self._codec = codec
        self._caller = caller

    async def handle(self, page: Page, desk: Desk) -> None:
        """Handle a page's events, each recorded before the next is begun, or each batch before the next batch."""
        left = [stored for stored in page.events if self._codec.registry.takes(self._taken, stored.type)]
        while left and not desk.stopping:
            batch = left[: self._reaction.batch]
            done = await self._together(batch, desk) if len(batch) > 1 else 0
            if not done:
                done = await self._one_by_one(batch, desk)
            left = left[done:]
        if page.position > desk.position and not desk.stopping:
            desk.pass_over(page.position)

    async def _together(self, batch: Sequence[StoredEvent], desk: Desk) -> int:
        """Handle the first events of a batch and record them at once; how many, and 0 if anything went wrong."""
        try:
            contexts = [self._context(self._codec.recorded(stored), 1) for stored in batch]
            done = await self._call(contexts, desk)
            await self._record(batch[done - 1], contexts[:done], desk)
        except (StoreUnavailable, LeaseLost):
            raise
        except Exception as problem:
            logger.info("%s: a batch met %s; its events are handled one by one", self.name, type(problem).__name__)
            return 0
        return done

    async def _one_by_one(self, batch: Sequence[StoredEvent], desk: Desk) -> int:
        for stored in batch:
            if not desk.stopping:
                await self._until_done(stored, desk)
        return len(batch)

    async def _until_done(self, stored: StoredEvent, desk: Desk) -> None:
        """Handle an event and record it, again and again until that succeeds or the system stops."""
        at = self._codec.recorded(stored)
        failures = 0
        while not desk.stopping:
            context = self._context(at, failures + 1)
            try:
                await self._call([context], desk)
                await self._record(stored, [context], desk)
                return
            except (StoreUnavailable, LeaseLost):
                raise  # not the event's fault: the processor waits
            except Exception as problem:
                failures += 1
                pause_s = self._reaction.retry.pause_s(failures)
                desk.failed(problem)
                logger.warning(
                    "%s failed at position %d, attempt %d (%s: %s); again in %.2f s",
                    self.name, stored.position, failures, type(problem).__name__, problem, pause_s,
                )  # fmt: skip
                await desk.pause(pause_s)

    def _context(self, at: Recorded[Any], attempt: int) -> Context:
        return Context(self._caller, self.name, at, attempt)

    async def _call(self, contexts: Sequence[Context], desk: Desk) -> int:
        """Call the handler for these events, until it is time to record; how many it were."""
        of, end = self._reaction, time.monotonic() + BATCH_S
        return await call_each(
            of.handler, contexts, wants_call=of.wants_context, timeout_s=of.timeout_s,
            goes_on=lambda: not desk.stopping and time.monotonic() < end,
        )  # fmt: skip

    async def _record(self, last: StoredEvent, contexts: Sequence[Context], desk: Desk) -> None:
        statements = [statement for context in contexts for statement in context.statements]
        await desk.record(Work(self.name, desk.position, last.position, desk.fence, statements=statements))
        desk.working()
