"""A reactor answers events with effects: it sends, calls, asks for the next command.

Delivery is at least once: an event is handled again when the process dies before its checkpoint is written. What
goes through the context happens once all the same: `ctx.execute` runs in the checkpoint's transaction, and decisions
and events made through the context carry ids made from the event's, so that a second time is recognised.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from fait.decisions.caller import Caller
from fait.errors import DeclarationError, LeaseLost, StoreUnavailable
from fait.events.append import Page
from fait.events.codec import Codec
from fait.events.envelope import Recorded, StoredEvent
from fait.store.ledger import Statement, Work
from fait.subscriptions.failure import Retry
from fait.subscriptions.processor import Desk
from fait.telemetry import caused_by, logger

__all__ = ["HANDLER_TIMEOUT_S", "Context", "Handler", "Reaction", "Reactor", "Start"]

Handler = Callable[..., Awaitable[None] | None]
Start = Literal["beginning", "now"]

HANDLER_TIMEOUT_S: Final = 60.0
"""How long an async handler may take for one event before it counts as failed."""


class Reaction:
    """A declared reactor: what `app.on` keeps."""

    def __init__(
        self, name: str, events: tuple[type, ...], handler: Handler, start: Start, retry: Retry, timeout_s: float
    ) -> None:
        self.name = name
        self.events = events
        self.handler = handler
        self.start: Start = start
        self.retry = retry
        self.timeout_s = timeout_s
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
        """Handle a page's events, each recorded before the next is begun."""
        for stored in page.events:
            if desk.stopping:
                return
            if self._codec.registry.takes(self._taken, stored.type):
                await self._until_done(stored, desk)
        if page.position > desk.position and not desk.stopping:
            desk.pass_over(page.position)

    async def _until_done(self, stored: StoredEvent, desk: Desk) -> None:
        """Handle an event and record it, again and again until that succeeds or the system stops."""
        at = self._codec.recorded(stored)
        failures = 0
        while not desk.stopping:
            context = Context(self._caller, self.name, at, failures + 1)
            try:
                await self._call(at, context)
                done = Work(self.name, desk.position, stored.position, desk.fence, statements=context.statements)
                await desk.record(done)
                desk.working()
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

    async def _call(self, at: Recorded[Any], context: Context) -> None:
        arguments = (at.event, context) if self._reaction.wants_context else (at.event,)
        handler, task = self._reaction.handler, asyncio.current_task()
        with caused_by(correlation_id=at.metadata.correlation_id or at.id, causation_id=at.id):
            try:
                async with asyncio.timeout(self._reaction.timeout_s):
                    if inspect.iscoroutinefunction(handler):
                        await handler(*arguments)
                    elif inspect.isawaitable(result := await asyncio.to_thread(handler, *arguments)):
                        await result  # a decorated coroutine function does not look like one
            except asyncio.CancelledError:
                if task is not None and task.cancelling():
                    raise
                raise RuntimeError("the handler was cancelled from inside, as by awaiting a cancelled task") from None
