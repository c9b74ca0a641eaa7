"""`System` runs declarations on a store: it executes commands, runs subscriptions, and queries read models and the log.

Applications get it from `App.open`; tools that run only a part of an app call `open_system`. A system takes resolved
`Declarations`, so it does not depend on `App`. The block of `async with` owns everything: at its end the subscriptions
are stopped and the store is closed.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Literal, TypeVar, cast

from msgspec import Struct

from fait._affinity import Bound
from fait._arguments import MAX_INTEGER, check_integer, check_type, described, is_number
from fait._clock import Clock, SystemClock
from fait._decisions.boundary import read_matching_events
from fait._decisions.calls import WriteResult
from fait._decisions.client import Client
from fait._decisions.load import Loader
from fait._decisions.snapshot import Snapshots
from fait._declarations import Declarations
from fait._delivery.inbox.consumer import MessageConsumer
from fait._errors import InvalidPosition, NotSettled, Stale, UsageError
from fait._events.append import Until, check_limit
from fait._events.envelope import Envelope
from fait._events.event import NOTHING_DECIDED
from fait._events.query import EVERYTHING, Query, check_queries
from fait._events.stream import check_stream
from fait._observation import ObservedSubscription, observe_commands, observe_store, report_periodically
from fait._store.open import open_store
from fait._store.ports.failures import KeyFailure
from fait._store.ports.leases import backlog_of
from fait._store.ports.store import PORTS, Store
from fait._subscriptions.feed import follow, stream_pages
from fait._subscriptions.find import (
    Rows,
    column_conditions,
    decode_cursor,
    encode_cursor,
    keys_of_read,
    slot_of_read,
    sort_orders,
)
from fait._subscriptions.own_write import OwnWrite
from fait._subscriptions.position_token import decode_token, encode_token
from fait._subscriptions.processor_group import LEASE_DURATION_S, MIN_LEASE_DURATION_S, ProcessorGroup, State
from fait._subscriptions.projection import Projection
from fait._subscriptions.reactor import Reactor
from fait._subscriptions.read_model import ReadModel, ReadModelDefinition, definition_of
from fait._subscriptions.read_your_writes import Deadline, every_key, read_nothing, wait_for_position
from fait._subscriptions.registration import Registrar, RegistrationChanges
from fait._subscriptions.retention import Retention
from fait._subscriptions.runner import Runner
from fait._subscriptions.settle import wait_until_settled
from fait._subscriptions.subscription import Subscription
from fait._telemetry import Telemetry

__all__ = ["SubscriptionStatus", "System", "open_system"]

M = TypeVar("M", bound=ReadModel)
E = TypeVar("E")

After = WriteResult[Any] | int | str
"""What a read can wait for: the result of a write, a position, or the token of one."""

FIND_TIMEOUT_S: Final = 5.0
"""Default timeout for `find(after=...)`, `get(after=...)` and `wait`."""

_TELEMETRY_METHODS: Final = ("count", "measure", "span")

_DEFAULT_LIMIT: Final = 1000
"""Default maximum number of rows that `find` returns, and of events that `read` returns."""


@asynccontextmanager
async def open_system(
    declarations: Declarations,
    url: str,
    *,
    run: Literal["here", "elsewhere"] = "here",
    clock: Clock | None = None,
    changes: RegistrationChanges = RegistrationChanges(),
    create: bool = True,
    lease_s: float = LEASE_DURATION_S,
    telemetry: Telemetry | None = None,
) -> AsyncGenerator["System", None]:
    """Run declarations on a store: all of an app, or a part of them. See `App.open`."""
    check_type("url", url, str, "a str")
    if run not in ("here", "elsewhere"):
        raise UsageError(
            f"run= must be 'here' or 'elsewhere', not {described(run, show_text=True)}. Nothing was opened."
        )
    check_type("create=", create, bool, "True or False")
    if clock is not None and (isinstance(clock, type) or not callable(getattr(clock, "now", None))):
        raise UsageError(f"clock= must be a Clock, such as fait.ManualClock(...), not {described(clock)}")
    if not (is_number(lease_s) and MIN_LEASE_DURATION_S <= lease_s < float("inf")):
        raise UsageError(
            f"lease_s= must be at least {MIN_LEASE_DURATION_S} seconds, not {described(lease_s)}. Nothing was opened."
        )
    if telemetry is not None and not all(callable(getattr(telemetry, name, None)) for name in _TELEMETRY_METHODS):
        raise UsageError(f"telemetry= must be a Telemetry, such as OpenTelemetry(), not {described(telemetry)}")
    if run == "here" and (declarations.relays or declarations.consumers):
        from fait._delivery.variables import check_variables  # slow to import

        check_variables(declarations.relays.values(), declarations.consumers.values(), os.environ)
    clock = clock or SystemClock()
    store = await open_store(url, clock=clock, create=create)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(store.close)
        system = System(declarations, observe_store(store, telemetry), clock, lease_s, telemetry)
        closing.push_async_callback(system._stop)  # pyright: ignore[reportPrivateUsage]
        await system._start(changes, run_subscriptions=run == "here")  # pyright: ignore[reportPrivateUsage]
        try:
            yield system
        finally:
            system._check_close(closing)  # pyright: ignore[reportPrivateUsage]


async def compare_definition(declarations: Declarations, store: Store, name: str) -> tuple[str, ...] | None:
    """Return what differs between the definition of a subscription and the stored one, as `Registrar.compare`.

    Args:
        declarations: those with the subscription.
        store: the store. Nothing is written to it.
        name: name of the subscription.
    """
    system = System(declarations, store, SystemClock(), LEASE_DURATION_S)
    return await system._registrar.compare(name)  # pyright: ignore[reportPrivateUsage]


def _relays(declarations: Declarations, store: Store) -> list[Subscription]:
    if not declarations.relays:
        return []
    from fait._delivery.relay.relay import Relay  # slow to import

    return [Relay(each, declarations.codec, store) for each in declarations.relays.values()]


def _variable_name(app: str) -> str:
    """The probable name of the variable with an app, for an error message."""
    return app if app.isidentifier() else "app"


class SubscriptionStatus(Struct, frozen=True):
    """Progress and state of a subscription; see `System.status`.

    Attributes:
        name: name of the subscription.
        state: "waiting": another process runs it, or none; "catching_up"; "live": it has reached the head; "failing":
            it retries after an error; "paused": until `fait resume`; "stopping"; "stopped".
        position: position up to which it has processed the log; of a consumer, the number of messages it has received.
        lag: difference between the head and `position`; of a consumer, the number of messages that it has not handled,
            as its workers knew it some seconds ago; None if a worker or the broker does not tell.
        error: the last error of this process, while it is retried or its key is parked; None if there is none.
        parked: number of keys that are parked, in any process.
        error_text: type and text of `error` as they are logged: shortened, without what looks like a secret, and
            without the text if the failure policy hides it; "" if there is none.
        retrying: number of keys that are tried again, in any process.
        outage: whether all of it waits in this process before it tries again, and not only some keys.
    """

    name: str
    state: State
    position: int
    lag: int | None
    error: Exception | None
    parked: int = 0
    error_text: str = ""
    retrying: int = 0
    outage: bool = False


def _describe(status: SubscriptionStatus) -> str:
    """Return a line of a table about a subscription."""
    error = "" if status.error is None else type(status.error).__name__
    if status.parked:
        error += f", {status.parked} key{'s' * (status.parked > 1)} parked"
    lag = "-" if status.lag is None else status.lag
    line = f"{status.name:30} position {status.position:>6}  lag {lag:>6}  {status.state:11} {error}"
    return line.rstrip()


class System(Client):
    """An app running on a store: executes commands, appends events, queries read models and reads the log.

    `App.open` yields it; it is not constructed by applications. It belongs to the process and the event loop in which
    it was opened: elsewhere, all its methods raise `UsageError`. A child process opens a system of its own. It must not
    be forked while an SQLite file is open in its parent: start it with "spawn", or fork before the file is opened.
    """

    def __init__(
        self,
        declarations: Declarations,
        store: Store,
        clock: Clock,
        lease_s: float,
        telemetry: Telemetry | None = None,
    ) -> None:
        registry, codec = declarations.registry, declarations.codec
        self._snapshots = Snapshots(store.snapshots, registry)
        super().__init__(
            store.log, partial(read_matching_events, store.log), Loader(store.log, codec, self._snapshots), clock
        )
        self._reporting: asyncio.Task[None] | None = None
        self._telemetry = telemetry
        if telemetry is not None:
            self._observe = observe_commands(telemetry)
        self._declarations = declarations
        self._store = store
        self._bound_store = cast("Store", Bound(store, self._affinity, PORTS))
        projections = [Projection(each, codec, store.tables) for each in declarations.read_models.values()]
        reactors = [Reactor(each, codec, store.log, self) for each in declarations.reactors.values()]
        consumers = [MessageConsumer(each, codec, store, self, clock) for each in declarations.consumers.values()]
        subscriptions: list[Subscription] = [
            *projections,
            *reactors,
            *_relays(declarations, store),
            *consumers,
        ]
        if telemetry is not None:
            subscriptions = [ObservedSubscription(each, telemetry) for each in subscriptions]
        self._registrar = Registrar(declarations.name, [each.definition for each in subscriptions], store)
        retention = Retention(declarations.name, registry, store, clock)
        self._subscription_runner = Runner(
            subscriptions, store, retention, app=declarations.name, clock=clock, lease_s=lease_s,
            sources={each.definition.name: each.open_source for each in consumers},
        )  # fmt: skip

    @property
    def store(self) -> Store:
        """The store, with all its ports (see `fait.store`).

        Their methods raise `UsageError` in another process or event loop than the one in which the system was opened.
        """
        return self._bound_store

    @property
    def _log_groups(self) -> Mapping[str, ProcessorGroup]:
        """The subscriptions whose source is the log, by name."""
        groups = self._subscription_runner.groups
        return {name: each for name, each in groups.items() if each.definition.kind != "consumer"}

    def _notify_commit(self) -> None:
        """Wake readers after a commit of new events. May be called from any thread."""
        if not self._affinity.is_forked:
            with suppress(RuntimeError):  # the event loop is closed
                self._affinity.loop.call_soon_threadsafe(self._store.log.notify)

    async def _start(self, changes: RegistrationChanges, *, run_subscriptions: bool) -> None:
        await self._prepare(changes, runs_here=run_subscriptions)
        if run_subscriptions:
            await self._subscription_runner.start()
        if self._telemetry is not None:
            # fault: consumers-not-measured
            groups = self._subscription_runner.groups.values()
            report = report_periodically(groups, self._store, self._clock, self._telemetry)
            self._reporting = asyncio.create_task(report, name="fait-telemetry")

    def _check_close(self, closing: AsyncExitStack) -> None:
        """Let nothing be closed in another process or event loop: connections and threads are not those of the caller.

        A forked child may leave the block, as with `sys.exit`.
        """
        try:
            self._affinity.check()
        except UsageError:
            closing.pop_all()
            if not self._affinity.is_forked:
                raise

    async def _stop(self) -> None:
        if self._reporting is not None:
            self._reporting.cancel()
        try:
            await self._subscription_runner.stop()
        finally:
            await self._snapshots.close()

    async def _prepare(self, changes: RegistrationChanges = RegistrationChanges(), *, runs_here: bool = True) -> None:
        """Register the subscriptions; raise if those that are registered do not match the declarations."""
        await self._registrar.apply(changes, runs_here=runs_here)
        await self._registrar.register(runs_here=runs_here)

    async def get(
        self, model: type[M], key: Any, /, *, after: After | None = None, timeout_s: float = FIND_TIMEOUT_S
    ) -> M | None:
        """Return the row with this key, or None.

        Args:
            model: the read model's class.
            key: value of its key column.
            after: read your writes: wait until the read model has processed this write. The result of the write, its
                position, or a token of it (see `token`).
            timeout_s: timeout for that, in seconds.

        Raises:
            UsageError: the read model is not included in the app, or the key has another type.
            InvalidPosition: `after` is none of this log.
            InvalidValue: no row can have the key.
            Stale: the read model did not reach the write within the timeout, or the row has a parked key.
        """
        rows = await self.find(model, after=after, timeout_s=timeout_s, limit=1, **{definition_of(model).key: key})
        return rows[0] if rows else None

    async def find(
        self,
        model: type[M],
        /,
        *,
        order_by: object = None,
        limit: int = _DEFAULT_LIMIT,
        cursor: str | None = None,
        after: After | None = None,
        timeout_s: float = FIND_TIMEOUT_S,
        **where: Any,
    ) -> Rows[M]:
        """Return rows of a read model.

        Args:
            model: the read model's class.
            order_by: "column", "-column", `fait.desc(Model.column)`, or a list of them. The key is appended as the last
                sort column.
            limit: maximum number of rows.
            cursor: `Rows.cursor` of the previous page, with the same `order_by`.
            after: read your writes: wait until the read model has processed this write. The result of the write, its
                position, or a token of it (see `token`).
            timeout_s: timeout for that, in seconds.
            **where: column conditions, combined with AND: a value for equality, or a comparison such as
                `total=fait.ge(10)`.

        Returns:
            The rows as a list. Its `cursor` fetches the next page; None: there are no more rows.

        Raises:
            UsageError: the read model has no such column, or is not included in the app; or the limit, a comparison or
                the type of a value is invalid.
            InvalidCursor: `find` did not return this cursor for this order.
            InvalidPosition: `after` is none of this log.
            InvalidValue: no row can have a value of a condition, such as a text with NUL.
            Stale: the read model did not reach the write within the timeout, or is being rebuilt. Or the key of an
                event of the write, or of a row, has failed, whatever the rows are: a parked one is known without a
                wait, one that is retried is waited for. Of a position, only the event at it is known. With a value for
                the key column, only the failure of this key counts.
            ReadModelChanged: the rows are those of other code. Only if the app was opened with `run="elsewhere"`, which
                is then possible.
        """
        check_limit(limit)
        deadline = Deadline(timeout_s)
        definition = self._definition(model)
        order = sort_orders(definition, order_by)
        after_row = None if cursor is None else decode_cursor(definition, order, cursor)
        conditions, select = column_conditions(definition, where), self.store.tables.select
        count = min(limit, MAX_INTEGER - 1) + 1  # one more than the page, to know whether there is another page
        read = partial(select, definition.table, conditions, order=order, after_row=after_row, limit=count)
        await self._registrar.check_readable(definition.name)
        if after is not None:
            write = await self._own_write(after, definition.name)
            position, depends_on = write.position, keys_of_read(definition, write, where)
            slot = slot_of_read(definition, write.stream, where)
            page = await self._wait_for(definition.name, position, deadline, read, depends_on, slot)
        else:
            page = await read()
        rows: Rows[M] = Rows(definition.from_row(row) for row in page[:limit])
        if len(page) > limit:
            rows.cursor = encode_cursor(definition, order, page[limit - 1])
        return rows

    async def wait(
        self, after: After | None = None, /, *models: type[ReadModel], timeout_s: float = FIND_TIMEOUT_S
    ) -> None:
        """Wait until subscriptions have processed a write.

        Args:
            after: the write, its position or a token of it; None: everything that is in the log now.
            *models: read models to wait for; none: all subscriptions of the app.
            timeout_s: timeout, in seconds.

        Raises:
            UsageError: a read model is not included in the app.
            InvalidPosition: `after` is none of this log.
            Stale: a subscription did not reach the write within the timeout, or did not handle an event of it, because
                its key is parked; the exception names both. Without `after`, any parked key.
        """
        names = [self._definition(model).name for model in models] or list(self._log_groups)
        deadline = Deadline(timeout_s)
        if after is None:
            position = await self.store.log.last_position()
            for name in names:
                await self._wait_for(name, position, deadline, read_nothing, every_key)
            return
        for name in names:
            write = await self._own_write(after, name)
            # fault: wait-for-a-write-that-has-failed
            await self._wait_for(name, write.position, deadline, read_nothing, write.has_failed)

    async def settle(self, after: After | None = None, /, *, timeout_s: float = FIND_TIMEOUT_S) -> None:
        """Wait until nothing is left to do: for tests, and for scripts that are alone on their store.

        Waits until every subscription of the app has processed the whole log, with the events that handlers append
        during the wait. Unlike `wait`, it has no end while others append events all the time.

        Args:
            after: a write, position or token that must be processed as well; None: what is in the log now.
            timeout_s: timeout, in seconds.

        Raises:
            NotSettled: a subscription did not reach the head within the timeout, or has stopped because of an error.
                The message is a table of all subscriptions; the cause is the error of the one that is behind.
        """
        groups, deadline = self._subscription_runner.groups, Deadline(timeout_s)
        try:
            position = 0 if after is None else await self._position(after)
            await wait_until_settled(self._log_groups.values(), self.store, position, deadline)
        except Stale as stale:
            waited_s = deadline.waited_s
            statuses = await self.status()
            cause = groups[stale.subscription].cause or next(
                (each.cause for each in groups.values() if each.cause), None
            )
            table = [_describe(each) for each in statuses]
            raise NotSettled(stale, waited_s, table, has_timed_out=waited_s >= timeout_s) from cause

    def token(self, after: WriteResult[Any] | int, /) -> str:
        """Return the position token of a write: text for a client, which sends it back with its next read.

        Args:
            after: the result of the write, or its position.

        Returns:
            32 characters, safe in URLs and headers. `after=` of `find`, `get` and `wait` takes them.

        Raises:
            UsageError: it is neither a write result nor a position.
        """
        identity = self.store.log.identity
        if isinstance(after, WriteResult):
            return encode_token(identity, after.position, after.events)
        return encode_token(identity, check_integer("after", after))

    async def _own_write(self, after: After, name: str) -> OwnWrite:
        """Return the write that is waited for in a subscription. A position is that of a write of one event."""
        position, log, events = await self._position(after), self.store.log, 1
        if isinstance(after, WriteResult):
            events = after.events
        elif isinstance(after, str):
            events = decode_token(log.identity, after).events
        stream = after.stream if isinstance(after, WriteResult) else ""
        return OwnWrite(log, position, events, stream, self._subscription_runner.groups[name].run.subscription)

    async def _position(self, after: After) -> int:
        """Return the position to wait for. Only that of a write result, which an append has returned, is not checked.

        Raises:
            InvalidPosition: the token is not of this log, or no event has the position yet.
        """
        check_type("after=", after, (WriteResult, int, str), "the result of a write, a position, or a position token")
        if isinstance(after, WriteResult):
            return after.position
        log = self.store.log
        position = (
            decode_token(log.identity, after).position if isinstance(after, str) else check_integer("after", after)
        )
        groups = self._log_groups.values()
        # fault: wait-beyond-head
        if position > max((each.position for each in groups), default=0) and position > await log.last_position():
            raise InvalidPosition("the log has no event at this position yet")
        return position

    async def _wait_for(
        self,
        name: str,
        target: int,
        deadline: Deadline,
        read: Callable[[], Awaitable[E]],
        depends_on: Callable[[KeyFailure, E], Awaitable[bool]],
        slot: int | None = None,
    ) -> E:
        group = self._subscription_runner.groups[name]
        return await wait_for_position(group, self.store, target, deadline, read, depends_on, slot)

    async def status(self) -> list[SubscriptionStatus]:
        """Return position, lag and state of each subscription, as seen by this process.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        ranges = await self.store.leases.ranges()
        has_consumers = len(self._log_groups) < len(self._subscription_runner.groups)
        workers = await self.store.leases.workers() if has_consumers else []
        failures = await self.store.failures.failures()
        keys = Counter((each.subscription, each.shown_state) for each in failures)
        head, statuses = await self.store.log.head(), list[SubscriptionStatus]()
        for name, group in self._subscription_runner.groups.items():
            own = [each for each in ranges if each.key.subscription == name]
            position = group.position_in(own)
            lag = max(0, head - position) if name in self._log_groups else backlog_of(name, own, workers)
            statuses.append(
                SubscriptionStatus(
                    name, group.state, position, lag, group.error, keys[name, "parked"], group.error_text,
                    keys[name, "retrying"], group.run.error is not None,
                )
            )  # fmt: skip
        return statuses

    def _definition(self, model: type[ReadModel]) -> ReadModelDefinition:
        definition = definition_of(model)
        if self._declarations.read_models.get(definition.name) is not definition:
            raise UsageError(
                f"the read model {model.__name__} is not included in the app {self._declarations.name!r}. Before the "
                f"app is opened, add {_variable_name(self._declarations.name)}.include({model.__name__})."
            )
        return definition

    async def rebuild(self, model: type[ReadModel], /) -> None:
        """Empty a read model's table and process the log from the beginning. Returns before it has caught up.

        Until then, queries return incomplete rows; `find(after=...)` and `wait` wait.

        Args:
            model: the read model's class.

        Raises:
            UsageError: the read model is not included in the app.
            PositionExpired: the read model handles messages, and some have been dropped. The table is unchanged, unless
                they were dropped during the call.
        """
        self._affinity.check()
        name = self._definition(model).name
        await self._registrar.rebuild(name)
        self._subscription_runner.groups[name].restart()

    async def read(
        self, stream: str, /, *, after: int = 0, until: Until = Until(), limit: int = _DEFAULT_LIMIT
    ) -> list[Envelope[Any]]:
        """Return events of a stream, in order of their versions.

        Args:
            stream: name of the stream, such as "order-7".
            after: only events with a greater version.
            until: upper bounds of version, position, recording time or time of occurrence.
            limit: maximum number of stored events; an upcaster may make several events of one, or none.

        Returns:
            Envelopes; events of undeclared types are `Untyped`. An unknown stream gives an empty list.

        Raises:
            UsageError: `limit` is less than 1, or another argument is no version or position.
            InvalidValue: no stream can have this name.
            UndecodableEvent: an event cannot be decoded.
        """
        check_limit(limit)
        check_type("until=", until, Until, "an Until")
        codec = self._loader.codec
        pages = stream_pages(self.store.log, check_stream(stream), after=after, until=until, limit=limit)
        stored = [each async for page in pages for each in page if each.type != NOTHING_DECIDED]
        return list(codec.decode_selected(stored))

    async def events(
        self, *, after: int = 0, query: Query = EVERYTHING, follow_on: bool = False
    ) -> AsyncIterator[Envelope[Any]]:
        """Iterate over events of the log, in order of their positions. Dropped messages are missing.

        Args:
            after: only events with a greater position.
            query: only events that match it.
            follow_on: whether to continue with new events instead of ending at the head.

        Yields:
            Envelopes; events of undeclared types are `Untyped`.

        Raises:
            UsageError: `after` is no position.
            UndecodableEvent: an event cannot be decoded.
        """
        check_queries("query=", (query,))
        check_type("follow_on=", follow_on, bool, "True or False")
        codec = self._loader.codec
        async for page in follow(self.store.log, after, codec.registry.names.stored_query(query), live=follow_on):
            decided = (each for each in page.events if each.type != NOTHING_DECIDED)
            for envelope in codec.decode_selected(decided, (query,)):
                yield envelope
