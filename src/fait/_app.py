"""The front of the house: an `App` says what there is, `app.open(url)` runs it on a store.

An app holds no connection and no state; a system has both, and ends with its block.

    shop = fait.App("shop")
    shop.include(Order, OrderSummary)

    @shop.on(OrderPlaced)
    async def reserve_stock(event: OrderPlaced, ctx: fait.Context) -> None: ...

    async with shop.open("sqlite:///shop.db") as s:
        await s.transact(Order.place, "o-1", "c-1", items)
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar, Unpack, cast, overload

from msgspec import Struct

from fait._clock import Clock, SystemClock
from fait._decisions.aggregate import Aggregate, describe_aggregate, fold_definition_of
from fait._decisions.boundary import Boundary
from fait._decisions.client import Client
from fait._decisions.decider import Decider, FoldDefinition
from fait._decisions.snapshot import Snapshots, state_decoder
from fait._decisions.transact import DecisionRunner, WriteResult
from fait._delivery.open import AsyncConnection, AsyncpgConnection, SyncConnection, open_outbox
from fait._delivery.outbox import AsyncOutbox, Outbox
from fait._errors import (
    CheckpointMismatch,
    DeclarationError,
    PositionExpired,
    ReadModelChanged,
    SubscriptionsChanged,
    UsageError,
)
from fait._events.append import Until
from fait._events.codec import Codec
from fait._events.envelope import Envelope
from fait._events.event import event_type
from fait._events.query import EVERYTHING, Query
from fait._events.registry import Registry
from fait._events.upcast import Upcaster
from fait._store.ledger import Checkpoint
from fait._store.open import Store, open_store
from fait._subscriptions.failure import Retry
from fait._subscriptions.feed import follow
from fait._subscriptions.find import Rows, column_conditions, decode_cursor, encode_cursor, sort_orders
from fait._subscriptions.handler_calls import Handler
from fait._subscriptions.processor import LEASE_DURATION_S, State
from fait._subscriptions.projection import Projection
from fait._subscriptions.reactor import HANDLER_TIMEOUT_S, Context, Reactor, ReactorDefinition, Start
from fait._subscriptions.read_model import ReadModel, ReadModelDefinition, definition_of
from fait._subscriptions.read_your_writes import Deadline, read_nothing, wait_for_position
from fait._subscriptions.retention import Retention
from fait._subscriptions.runner import Runner

__all__ = ["App", "SubscriptionStatus", "System"]

M = TypeVar("M", bound=ReadModel)
E = TypeVar("E")
E1 = TypeVar("E1")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
E4 = TypeVar("E4")
E5 = TypeVar("E5")
E6 = TypeVar("E6")

FIND_TIMEOUT_S: Final = 5.0
"""How long `find(after=...)` waits for its read model."""

_LIMIT: Final = 1000


class _HandlerDecorator(Generic[E]):
    """What `app.on(...)` gives: a decorator for handlers of these events."""

    def __init__(self, app: "App", name: str | None, declared: Callable[[str, Handler], ReactorDefinition]) -> None:
        self._app = app
        self._name = name
        self._declared = declared

    @overload
    def __call__(
        self, handler: Callable[[E, Context], Awaitable[None]], /
    ) -> Callable[[E, Context], Awaitable[None]]: ...
    @overload
    def __call__(self, handler: Callable[[E], Awaitable[None]], /) -> Callable[[E], Awaitable[None]]: ...
    @overload
    def __call__(self, handler: Callable[[E, Context], None], /) -> Callable[[E, Context], None]: ...
    @overload
    def __call__(self, handler: Callable[[E], None], /) -> Callable[[E], None]: ...
    def __call__(self, handler: Any, /) -> Any:
        """Declare the handler; it stays an ordinary function."""
        name = self._name or getattr(handler, "__name__", None)
        if name is None:
            raise DeclarationError(f"{handler!r} has no name of its own: @app.on(..., name='...')")
        self._app.add_reactor(self._declared(name, handler))
        return handler


class _Options(TypedDict, total=False):
    name: str | None
    start: Start
    retry: Retry
    timeout_s: float
    batch: int


class App:
    """What a system consists of. It holds no connection and no state.

    Args:
        name: of the app; its subscriptions belong to it, so that several apps may share a store.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.registry = Registry()
        self._codec = Codec(self.registry)  # of outboxes, which only write: to read, all must be included first
        self.aggregates: dict[str, type[Aggregate]] = {}
        self.read_models: dict[str, type[ReadModel]] = {}
        self.reactors: dict[str, ReactorDefinition] = {}
        self._deferred: list[Any] = []
        self._systems: set[System] = set()

    def include(self, *things: Any) -> None:
        """Include aggregates, deciders, boundaries, read models, events, upcasters, or a module with all of its own.

        Events that an `evolve` or a handler mentions are included with it.
        """
        for thing in things:
            if isinstance(thing, ModuleType):
                self._deferred.extend(_defined_in(thing))
            elif _is_declared(thing):
                self._deferred.append(thing)
            else:
                raise DeclarationError(
                    f"include takes aggregates, deciders, boundaries, read models, events, upcasters and modules, not "
                    f"{thing!r}"
                )

    @overload
    def on(self, e1: type[E1], /, **options: Unpack[_Options]) -> _HandlerDecorator[E1]: ...
    @overload
    def on(self, e1: type[E1], e2: type[E2], /, **options: Unpack[_Options]) -> _HandlerDecorator[E1 | E2]: ...
    @overload
    def on(
        self, e1: type[E1], e2: type[E2], e3: type[E3], /, **options: Unpack[_Options]
    ) -> _HandlerDecorator[E1 | E2 | E3]: ...
    @overload
    def on(
        self, e1: type[E1], e2: type[E2], e3: type[E3], e4: type[E4], /, **options: Unpack[_Options]
    ) -> _HandlerDecorator[E1 | E2 | E3 | E4]: ...
    @overload
    def on(
        self, e1: type[E1], e2: type[E2], e3: type[E3], e4: type[E4], e5: type[E5], /, **options: Unpack[_Options]
    ) -> _HandlerDecorator[E1 | E2 | E3 | E4 | E5]: ...
    @overload
    def on(
        self,
        e1: type[E1],
        e2: type[E2],
        e3: type[E3],
        e4: type[E4],
        e5: type[E5],
        e6: type[E6],
        /,
        **options: Unpack[_Options],
    ) -> _HandlerDecorator[E1 | E2 | E3 | E4 | E5 | E6]: ...
    def on(
        self,
        *events: type,
        name: str | None = None,
        start: Start = "now",
        retry: Retry = Retry(),
        timeout_s: float = HANDLER_TIMEOUT_S,
        batch: int = 1,
    ) -> Any:
        """Declare a reactor: a function called for each of these events, at least once, in order, until it succeeds.

        Args:
            *events: classes of events.
            name: of the subscription; by default the function's. It names the checkpoint: keep it.
            start: where a new subscription begins: "now", or at the "beginning" of the log.
            retry: pauses between attempts.
            timeout_s: how long a handler may take for one event. One that is not async may go on, as a thread does.
            batch: most events whose `ctx.execute` and checkpoint are committed together. With more than 1 a handler is
                much faster, does not see yet what it executed for the event before, and is given up to so many events
                again after a crash, or when one of their statements fails.
        """

        def declared(name: str, handler: Handler) -> ReactorDefinition:
            return ReactorDefinition(name, events, handler, start, retry, timeout_s, batch)

        on: _HandlerDecorator[Any] = _HandlerDecorator(self, name, declared)
        return on

    def add_reactor(self, reaction: ReactorDefinition) -> None:
        """Know a reactor; two of one name are an error."""
        if not reaction.events:
            raise DeclarationError("on(...) needs the events to react to: @app.on(OrderPlaced)")
        if self.reactors.setdefault(reaction.name, reaction) is not reaction:
            raise DeclarationError(
                f"two reactors are named {reaction.name!r}: give one a name, @app.on(..., name='...')"
            )

    @overload
    def outbox(self, connection: SyncConnection, /, *, schema: str = "public") -> Outbox: ...
    @overload
    def outbox(self, connection: AsyncConnection | AsyncpgConnection, /, *, schema: str = "public") -> AsyncOutbox: ...
    def outbox(self, connection: Any, /, *, schema: str = "public") -> Outbox | AsyncOutbox:
        """Events in a transaction of your own: stored with what you change in it, or not at all.

            shop.outbox(connection).add(OrderPlaced(...), stream="order-7")

        Args:
            connection: where the transaction is open: a connection or session of asyncpg, psycopg, SQLAlchemy, Django,
                sqlite3 or aiosqlite. Those that wait give an outbox whose `add` is awaited.
            schema: where the log lies, in PostgreSQL.

        Raises:
            UsageError: there is no adapter for it.
        """
        self.resolve()
        return open_outbox(connection, self._codec, schema, self._notify_systems)

    def _notify_systems(self) -> None:
        """Something was committed: tell the systems that are open in this process."""
        for system in tuple(self._systems):  # another thread may close one meanwhile
            system.notify_commit()

    def resolve(self) -> None:
        """Find out all events, now that all names are defined, and refuse what does not fit together."""
        while self._deferred:
            self._resolve(self._deferred.pop(0))
        for reaction in self.reactors.values():
            self.registry.handled_types(reaction.events)
        self.registry.check()
        if taken := self.reactors.keys() & self.read_models.keys():
            raise DeclarationError(f"a reactor and a read model are both named {taken.pop()!r}")

    def _resolve(self, thing: Any) -> None:
        if isinstance(thing, Upcaster):
            self.registry.add_upcaster(thing)
        elif isinstance(thing, Decider):
            self._fold(cast("Decider[Any, Any, Any]", thing).fold_definition)
        elif isinstance(thing, Boundary):
            self._folded(cast("Boundary[Any, Any, Any]", thing).events)
        elif issubclass(thing, Aggregate):
            description = describe_aggregate(thing)
            if self.aggregates.setdefault(description.category, thing) is not thing:
                raise DeclarationError(f"two aggregates have the category {description.category!r}")
            self._fold(fold_definition_of(thing))
        elif issubclass(thing, ReadModel):
            shape = definition_of(thing)
            if self.read_models.setdefault(shape.name, thing) is not thing:
                raise DeclarationError(f"two read models have the table {shape.name!r}: give one table='...'")
            self.registry.handled_types(shape.events)
        else:
            self.registry.add(thing)

    def _fold(self, model: FoldDefinition[Any]) -> None:
        self._folded(model.events)
        if model.snapshots is not None:
            state_decoder(model.snapshots)

    def _folded(self, events: Sequence[type]) -> None:
        """Know events that a decision folds: its state must not depend on what is dropped one day."""
        for name in sorted(self.registry.handled_types(events).types):
            if self.registry.types[name].retention is not None:
                raise DeclarationError(
                    f"{self.registry.types[name]!r} expires, and a decision folds it: its state would change when the "
                    "message is dropped. Decide on facts, and let a reactor publish the message."
                )

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        run: Literal["here", "elsewhere"] = "here",
        clock: Clock | None = None,
        renamed: Mapping[str, str] | None = None,
        forget: Sequence[str] = (),
        rebuild: Sequence[str] = (),
        create: bool = True,
        lease_s: float = LEASE_DURATION_S,
    ) -> AsyncGenerator["System", None]:
        """Run the app on a store.

        Args:
            url: of the store: "memory:", "sqlite:///shop.db".
            run: "here": this process runs subscriptions, sharing them with any others; "elsewhere": it only asks and
            appends.
            clock: for tests.
            renamed: old names of subscriptions, and the new names they go on under.
            forget: subscriptions that are gone for good.
            rebuild: read models, by table, to empty and build anew from the log.
            create: whether to create a store that does not exist.
            lease_s: how long a process may show no sign of life before another takes over its subscriptions.
        """
        self.resolve()
        clock = clock or SystemClock()
        store = await open_store(url, clock=clock, create=create)
        try:
            system = System(self, store, clock, lease_s)
            await system.prepare(renamed or {}, forget, rebuild)
            try:
                self._systems.add(system)
                if run == "here":
                    system.runner.start()
                yield system
            finally:
                self._systems.discard(system)
                try:
                    await system.runner.stop()
                finally:
                    await system.snapshots.close()
        finally:
            await store.close()


class SubscriptionStatus(Struct, frozen=True):
    """How far a subscription is.

    Attributes:
        name: its name.
        state: what it does in this process; "waiting" where another process runs it.
        position: everything up to here is done.
        lag: positions from there to the end of the log.
        problem: why it fails, in this process.
    """

    name: str
    state: State
    position: int
    lag: int
    error: Exception | None


class System(Client):
    """A running app: decisions and facts as `Caller` has them, and questions to read models and to the log."""

    def __init__(self, app: App, store: Store, clock: Clock, lease_s: float) -> None:
        codec = Codec(app.registry)
        self.snapshots = Snapshots(store.ledger, app.registry)
        super().__init__(store.log, codec, DecisionRunner(store.log, codec, clock, self.snapshots))
        self.app = app
        self.store = store
        self._event_loop = asyncio.get_running_loop()
        self._projections = {
            name: Projection(definition_of(model), codec, store.ledger) for name, model in app.read_models.items()
        }
        reactors = [Reactor(reaction, codec, self) for reaction in app.reactors.values()]
        self._subscriptions: list[Projection | Reactor] = [*self._projections.values(), *reactors]
        retention = Retention(app.name, app.registry, store.log, store.ledger, clock)
        self.runner = Runner(self._subscriptions, store.log, store.ledger, retention, lease_s=lease_s)

    def notify_commit(self) -> None:
        """Be told, from any thread, that somebody has committed events."""
        with suppress(RuntimeError):  # its event loop has ended
            self._event_loop.call_soon_threadsafe(self.store.log.notify)

    async def prepare(self, renamed: Mapping[str, str], forget: Sequence[str], rebuild: Sequence[str]) -> None:
        """Create tables and first checkpoints; refuse to start on what does not fit."""
        ledger = self.store.ledger
        for old, new in renamed.items():
            if await ledger.checkpoint(old) and await ledger.checkpoint(new):
                raise UsageError(f"{old!r} cannot go on as {new!r}, which has a checkpoint itself: forget one of them")
            await ledger.rename_subscription(old, new)
        for name in forget:
            await ledger.forget_subscription(name)
        for name in rebuild:
            await self.rebuild(self._model(name))
        known = {each.subscription: each for each in await ledger.checkpoints() if each.app == self.app.name}
        names = [subscription.name for subscription in self._subscriptions]
        vanished, appeared = sorted(known.keys() - set(names)), [name for name in names if name not in known]
        if vanished and appeared:
            raise SubscriptionsChanged(self.app.name, vanished, appeared)
        head = await self.store.log.head()
        for subscription in self._subscriptions:
            await self._start(subscription, head, is_new=subscription.name in appeared)

    async def _start(self, subscription: Projection | Reactor, head: int, *, is_new: bool) -> None:
        name, ledger = subscription.name, self.store.ledger
        position = 0 if subscription.start == "beginning" else head
        found = await ledger.start_checkpoint(self._checkpoint(name, position, subscription.definition_hash))
        if found.app != self.app.name:
            raise DeclarationError(
                f"the subscription {name!r} belongs to the app {found.app!r} in this store; choose another name"
            )
        mine = self.store.log.identity
        if (found.log_id, found.epoch) != (mine.log_id, mine.epoch):
            raise CheckpointMismatch(
                name,
                f"it was written for log {found.log_id} epoch {found.epoch}, this is {mine.log_id} epoch {mine.epoch}",
            )
        if found.position > head and found.position > (head := await self.store.log.head()):  # others append meanwhile
            raise CheckpointMismatch(name, f"it is at position {found.position}, the log ends at {head}")
        if found.definition_hash != subscription.definition_hash:
            raise ReadModelChanged(name)
        try:
            await self._refuse_late(subscription, found.position)
        except PositionExpired:
            if is_new:
                await ledger.forget_subscription(name)
            raise
        if isinstance(subscription, Projection):  # last: a table that does not fit is left as it is
            await ledger.create_table(subscription.definition.table)
            if is_new:
                await self._refuse_old_rows(subscription)

    async def _refuse_old_rows(self, projection: Projection) -> None:
        """Refuse to fold on top of rows of an earlier life, unless another process has just begun this one."""
        table, checkpoint = projection.definition.table, await self.store.ledger.checkpoint(projection.name)
        if await self.store.ledger.select(table, limit=1) and checkpoint and checkpoint.position == 0:
            lease = await self.store.ledger.lease(projection.name)
            if not lease.owner:
                # fault: old-rows-rejected-once
                await self.store.ledger.forget_subscription(projection.name)
                raise UsageError(
                    f"the table {table.name!r} has rows, and no subscription is known that wrote them: was the read "
                    f"model forgotten, and declared again? Nothing was changed. Build it anew: "
                    f"open(url, rebuild=[{table.name!r}])"
                )

    async def _refuse_late(self, subscription: Projection | Reactor, position: int) -> None:
        """Refuse to begin where messages were dropped. Asked once there is a checkpoint: from then on none are."""
        # fault: start-below-expired-position
        if subscription.may_expire and (expired := await self.store.log.expired_position()) > position:
            raise PositionExpired(subscription.name, position, expired)

    def _checkpoint(self, name: str, position: int, fingerprint: str) -> Checkpoint:
        mine = self.store.log.identity
        return Checkpoint(name, self.app.name, position, mine.log_id, mine.epoch, fingerprint)

    def _model(self, table: str) -> type[ReadModel]:
        if table not in self.app.read_models:
            known = ", ".join(self.app.read_models) or "none"
            raise UsageError(f"the app {self.app.name!r} has no read model {table!r}; it has: {known}")
        return self.app.read_models[table]

    async def get(
        self, model: type[M], key: Any, /, *, after: WriteResult[Any] | None = None, timeout_s: float = FIND_TIMEOUT_S
    ) -> M | None:
        """The row with this key; None if there is none. `after` as in `find`."""
        found = await self.find(model, after=after, timeout_s=timeout_s, limit=1, **{definition_of(model).key: key})
        return found[0] if found else None

    async def find(
        self,
        model: type[M],
        /,
        *,
        order_by: object = None,
        limit: int = _LIMIT,
        cursor: str | None = None,
        after: WriteResult[Any] | None = None,
        timeout_s: float = FIND_TIMEOUT_S,
        **where: Any,
    ) -> Rows[M]:
        """Rows of a read model.

        Args:
            model: its class.
            order_by: "column", "-column", `fait.desc(Model.column)`, or several of them; the key comes last by itself.
            limit: most rows.
            cursor: of the rows found before: go on behind them, under the same `order_by`.
            after: read your write: wait until the model has passed this decision or append.
            timeout_s: how long to wait for it.
            **where: a value each column must equal, or a comparison: `total=fait.ge(10)`.

        Raises:
            UsageError: a column that the model does not have, with the nearest name.
            Stale: the model did not get there in time, or is being built anew.
        """
        if limit < 1:
            raise UsageError(f"find gives at least one row, not {limit}")
        shape = self._shape(model)
        if after is not None and not isinstance(after, WriteResult):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError("after= takes what a decision or an append returned, a Done")
        order = sort_orders(shape, order_by)
        beyond = None if cursor is None else decode_cursor(shape, order, cursor)
        tests, select = column_conditions(shape, where), self.store.ledger.select
        read = partial(select, shape.table, tests, order=order, after_row=beyond, limit=limit + 1)
        if after is not None:
            found = await self._once_passed(shape.name, after.position, Deadline(timeout_s), read)
        else:
            found = await read()
        rows: Rows[M] = Rows(shape.from_row(row) for row in found[:limit])
        if len(found) > limit > 0:
            rows.cursor = encode_cursor(shape, order, found[limit - 1])
        return rows

    async def wait(
        self, after: WriteResult[Any] | None = None, /, *models: type[ReadModel], timeout_s: float = FIND_TIMEOUT_S
    ) -> None:
        """Wait until read models have passed a decision or an append.

        Args:
            after: what to wait for; None = everything that is in the log now.
            *models: the read models; without any, every subscription.
            timeout_s: how long to wait.

        Raises:
            Stale: one did not get there in time; it is named.
        """
        names = [self._shape(model).name for model in models] or [each.name for each in self._subscriptions]
        position = await self.store.log.head() if after is None else after.position
        patience = Deadline(timeout_s)
        for name in names:
            await self._once_passed(name, position, patience, read_nothing)

    async def _once_passed(self, name: str, target: int, patience: Deadline, read: Callable[[], Awaitable[E]]) -> E:
        return await wait_for_position(self.runner.processors[name], self.store.ledger, target, patience, read)

    async def status(self) -> list[SubscriptionStatus]:
        """How far each subscription is, and what it does in this process."""
        checkpoints = {each.subscription: each.position for each in await self.store.ledger.checkpoints()}
        head, found = await self.store.log.head(), list[SubscriptionStatus]()
        for name, processor in self.runner.processors.items():
            position = max(processor.position, checkpoints.get(name, 0))
            found.append(SubscriptionStatus(name, processor.state, position, max(0, head - position), processor.error))
        return found

    def _shape(self, model: type[ReadModel]) -> ReadModelDefinition:
        shape = definition_of(model)
        if self.app.read_models.get(shape.name) is not model:
            raise UsageError(f"{model.__name__} is not included in the app {self.app.name!r}")
        return shape

    async def rebuild(self, model: type[ReadModel], /) -> None:
        """Empty a read model's table and build it anew from the log; its rows are incomplete until it has caught up.

        Raises:
            PositionExpired: it was built from messages that were dropped; nothing was changed.
        """
        projection = self._projections[self._shape(model).name]
        await self._refuse_late(projection, 0)  # before anything is changed
        checkpoint = self._checkpoint(projection.name, 0, projection.definition_hash)
        await self.store.ledger.reset_table(projection.definition.table, checkpoint)
        await self._refuse_late(projection, 0)  # and now that nothing can be dropped any more
        self.runner.processors[projection.name].restart()

    async def read(
        self, stream: str, /, *, after: int = 0, until: Until = Until(), limit: int = _LIMIT
    ) -> list[Envelope[Any]]:
        """Events of a stream beyond version `after`, with their envelopes; undeclared ones come as `Untyped`."""
        stored = await self.store.log.read_stream(stream, after=after, until=until, limit=limit)
        return [self._codec.decode_envelope(each) for each in stored]

    async def events(
        self, *, after: int = 0, query: Query = EVERYTHING, follow_on: bool = False
    ) -> AsyncIterator[Envelope[Any]]:
        """Events of the log beyond position `after`, in order; with `follow_on` also those still to come.

        Messages that were dropped are passed over.
        """
        async for page in follow(self.store.log, after, query, live=follow_on):
            for stored in page.events:
                yield self._codec.decode_envelope(stored)


def _defined_in(module: ModuleType) -> list[Any]:
    """What a module declares itself; what it only imports belongs to the module that declares it."""
    members: list[Any] = list(vars(module).values())
    return [
        each
        for each in members
        if isinstance(each, Upcaster | Decider | Boundary)
        or (_is_declared(each) and getattr(each, "__module__", None) == module.__name__)
    ]


def _is_declared(thing: Any) -> bool:
    if isinstance(thing, Upcaster | Decider | Boundary):
        return True
    return isinstance(thing, type) and (
        event_type(thing) is not None
        or (issubclass(thing, Aggregate) and thing is not Aggregate)
        or (issubclass(thing, ReadModel) and thing is not ReadModel)
    )
