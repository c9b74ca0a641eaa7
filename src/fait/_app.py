"""`App` and `System`: the declarations of an application, and the application running on a store.

An `App` holds declarations only. `app.open(url)` opens a store and yields a `System`, which holds the connections, runs
the subscriptions, and closes with the `async with` block.

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
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar, Unpack, overload

from msgspec import Struct

from fait._clock import Clock, SystemClock
from fait._decisions.calls import WriteResult
from fait._decisions.client import Client
from fait._decisions.load import Loader
from fait._decisions.snapshot import Snapshots
from fait._declarations import Declarations, declared_objects, resolve
from fait._delivery.open import AsyncConnection, AsyncpgConnection, SyncConnection, open_outbox
from fait._delivery.outbox import AsyncOutbox, Outbox
from fait._errors import DeclarationError, UsageError
from fait._events.append import Until
from fait._events.envelope import Envelope
from fait._events.query import EVERYTHING, Query
from fait._store.open import open_store
from fait._store.ports.leases import lowest_positions
from fait._store.ports.store import Store
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.feed import follow
from fait._subscriptions.find import Rows, column_conditions, decode_cursor, encode_cursor, sort_orders
from fait._subscriptions.handler_calls import Handler
from fait._subscriptions.processor import LEASE_DURATION_S, State
from fait._subscriptions.projection import Projection
from fait._subscriptions.reactor import HANDLER_TIMEOUT_S, Context, Reactor, ReactorDefinition
from fait._subscriptions.read_model import ReadModel, ReadModelDefinition, definition_of
from fait._subscriptions.read_your_writes import Deadline, read_nothing, wait_for_position
from fait._subscriptions.registration import Registrar, RegistrationChanges
from fait._subscriptions.retention import Retention
from fait._subscriptions.runner import Runner
from fait._subscriptions.subscription import Start

__all__ = ["App", "SubscriptionStatus", "System", "declarations_of", "open_system"]

M = TypeVar("M", bound=ReadModel)
E = TypeVar("E")
E1 = TypeVar("E1")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
E4 = TypeVar("E4")
E5 = TypeVar("E5")
E6 = TypeVar("E6")

FIND_TIMEOUT_S: Final = 5.0
"""Default timeout for `find(after=...)`, `get(after=...)` and `wait`."""

_DEFAULT_LIMIT: Final = 1000
"""Default maximum number of rows that `find` returns, and of events that `read` returns."""


class _HandlerDecorator(Generic[E]):
    """The decorator that `App.on` returns; `E` is the union of the handled events."""

    def __init__(self, name: str | None, declare: Callable[[str, Handler], None]) -> None:
        self._name = name
        self._declare = declare

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
        """Register the handler and return it unchanged."""
        name = self._name or getattr(handler, "__name__", None)
        if name is None:
            raise DeclarationError(
                f"the handler {handler!r} has no __name__; name the subscription: @app.on(..., name='...')"
            )
        self._declare(name, handler)
        return handler


class _Options(TypedDict, total=False):
    name: str | None
    start: Start
    on_failure: FailurePolicy
    timeout_s: float
    batch: int


class App:
    """The declarations of an application: aggregates, deciders, boundaries, read models, reactors, events, upcasters.

    An app holds no connection. `open` runs it on a store.

    Args:
        name: name of the app. It is stored with the checkpoints of its subscriptions, so do not change it. Several apps
            may share a store if their subscriptions have different names.

    Attributes:
        name: name of the app.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._included: list[Any] = []  # objects and reactors, in order; it only grows
        self._resolved: tuple[int, Declarations] | None = None  # declarations, and the number of objects they are of
        self._systems: set[System] = set()

    def include(self, *things: Any) -> None:
        """Include aggregates, deciders, boundaries, read models, event classes and upcasters.

        Events that an included `evolve` or a handler accepts are included with it. An event that is not included can be
        appended, but is read as `Untyped`. An open system and an existing outbox have what was included before.

        Args:
            *things: the objects to include. A module includes all such objects that it defines itself.

        Raises:
            DeclarationError: an argument is an object of another kind.
        """
        for thing in things:
            self._included.extend(declared_objects(thing))

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
        on_failure: FailurePolicy = FailurePolicy(),
        timeout_s: float = HANDLER_TIMEOUT_S,
        batch: int = 1,
    ) -> Any:
        """Declare a handler: a function called for every event of these types, at least once and in order.

        A handler that raises is called again for the same event, with back-off, until it succeeds or the attempts of
        `on_failure` are used up. It may be `async` or
        not, and takes the event, or the event and a `Context`. The decorated function is returned unchanged.

        Args:
            *events: the event classes to handle.
            name: name of the subscription; by default the function's name. The checkpoint is stored under it, so do not
                change it; see `renamed` of `open`.
            start: where a new subscription starts: "now", at the end of the log, or at its "beginning".
            on_failure: back-off between attempts, and what follows the last one.
            timeout_s: timeout for one event, in seconds. A handler that is not `async` runs in a thread, which is not
                stopped by the timeout.
            batch: maximum number of events whose statements (`ctx.execute`) and checkpoint are committed together. More
                than 1 is much faster, but a handler does not see the effect of earlier statements of its batch, and
                after a crash or a failed statement up to `batch` events are redelivered.

        Raises:
            DeclarationError: no event class is given, another reactor has this name, `batch` is not from 1 to 1,000, or
                the function cannot be called with an event.
        """

        def declare(name: str, handler: Handler) -> None:
            self._add_reactor(ReactorDefinition(name, events, handler, start, on_failure, timeout_s, batch))

        decorator: _HandlerDecorator[Any] = _HandlerDecorator(name, declare)
        return decorator

    def _add_reactor(self, reactor: ReactorDefinition) -> None:
        if not reactor.events:
            raise DeclarationError("on(...) needs the events to handle: @app.on(OrderPlaced)")
        if any(isinstance(each, ReactorDefinition) and each.name == reactor.name for each in self._included):
            raise DeclarationError(
                f"two reactors are named {reactor.name!r}: name one of them explicitly, with @app.on(..., name='...')"
            )
        self._included.append(reactor)

    def _resolve(self) -> Declarations:
        """Return the declarations, resolved again only if something was included since the last call.

        Threads may call this at once: each resolves what was included by then, and a result of fewer objects is not
        used again.
        """
        resolved = self._resolved
        # fault: stale-declarations
        if resolved is None or resolved[0] != len(self._included):
            included = tuple(self._included)
            resolved = self._resolved = len(included), resolve(self.name, included)
        return resolved[1]

    @overload
    def outbox(self, connection: SyncConnection, /, *, schema: str = "public") -> Outbox: ...
    @overload
    def outbox(self, connection: AsyncConnection | AsyncpgConnection, /, *, schema: str = "public") -> AsyncOutbox: ...
    def outbox(self, connection: Any, /, *, schema: str = "public") -> Outbox | AsyncOutbox:
        """Return the outbox of a transaction: events added to it are committed or rolled back with the transaction.

            shop.outbox(connection).add(OrderPlaced(...), stream="order-7")

        Args:
            connection: a connection or session of asyncpg, psycopg, SQLAlchemy, Django, sqlite3 or aiosqlite, on the
                database that has the log.
            schema: the PostgreSQL schema of the log.

        Returns:
            An `AsyncOutbox`, whose `add` is awaited, for an async library; an `Outbox` otherwise.

        Raises:
            UsageError: the argument is not a usable connection or session of one of these libraries.
            DeclarationError: the declarations contradict each other.
        """
        return open_outbox(connection, self._resolve().codec, schema, self._notify_systems)

    def _notify_systems(self) -> None:
        """Notify the open systems of this process that a transaction has been committed."""
        for system in tuple(self._systems):  # a copy: another thread may close a system during the loop
            system._notify_commit()  # pyright: ignore[reportPrivateUsage]

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        run: Literal["here", "elsewhere"] = "here",
        clock: Clock | None = None,
        renamed: Mapping[str, str] | None = None,
        forget: Sequence[str] = (),
        accept: Sequence[str] = (),
        rebuild: Sequence[str] = (),
        create: bool = True,
        lease_s: float = LEASE_DURATION_S,
    ) -> AsyncGenerator["System", None]:
        """Run the app on a store.

        Args:
            url: the store: "memory:", "sqlite:///shop.db", "postgresql://host/database?schema=shop".
            run: "here": this process runs subscriptions, and shares them with other processes; "elsewhere": it only
                appends and queries.
            clock: replaces the system clock, in tests.
            renamed: old names of subscriptions and their new names; the checkpoints are renamed.
            forget: subscriptions that were removed; their checkpoints are deleted.
            accept: subscriptions whose changed definition continues where the older one has stopped. Accept the
                definition of a read model only if it computes the same rows, and that of a handler if it is to handle
                fewer event types than before.
            rebuild: tables of read models to empty and rebuild from the log.
            create: whether to create a store that does not exist.
            lease_s: time without a heartbeat, in seconds, after which other processes may take over a subscription.

        Raises:
            UsageError: the URL names no store; `accept` or `rebuild` names nothing of the app; both names of a renamed
                subscription have a checkpoint; or the table of a new read model already has rows.
            MissingExtra: the driver of the store is not installed.
            DeclarationError: the declarations contradict each other, or another app of the store has a subscription of
                the same name.
            StoreUnavailable: the store cannot be opened; `StoreTooNew` if a newer version of fait created it.
            SubscriptionsChanged: subscriptions were removed from the app and others were added to it.
            ReadModelChanged: the definition of a read model changed since its table was built.
            CheckpointMismatch: a checkpoint does not belong to this log.
            PositionExpired: a subscription would start where messages have been dropped.
        """
        changes = RegistrationChanges(renamed or {}, forget, accept, rebuild)
        async with open_system(
            self._resolve(), url, run=run, clock=clock, changes=changes, create=create, lease_s=lease_s
        ) as system:  # fmt: skip
            self._systems.add(system)
            try:
                yield system
            finally:
                self._systems.discard(system)


def declarations_of(app: App) -> Declarations:
    """Return the declarations of an app; raise `DeclarationError` if they contradict each other."""
    return app._resolve()  # pyright: ignore[reportPrivateUsage]


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
) -> AsyncGenerator["System", None]:
    """Run declarations on a store: all of an app, or a part of them. See `App.open`."""
    clock = clock or SystemClock()
    store = await open_store(url, clock=clock, create=create)
    try:
        system = System(declarations, store, clock, lease_s)
        async with system._run(changes, start=run == "here"):  # pyright: ignore[reportPrivateUsage]
            yield system
    finally:
        await store.close()


def _variable_name(app: str) -> str:
    """The probable name of the variable with an app, for an error message."""
    return app if app.isidentifier() else "app"


class SubscriptionStatus(Struct, frozen=True):
    """Progress and state of a subscription; see `System.status`.

    Attributes:
        name: name of the subscription.
        state: "waiting": another process runs it, or none; "catching_up"; "live": it has reached the head; "failing":
            it retries after an error; "failed": an error ended it, and it waits for a restart; "stopping"; "stopped".
        position: position up to which it has processed the log.
        lag: difference between the head and `position`.
        error: the error that the subscription is retrying in this process, or that ended it; None if there is none.
    """

    name: str
    state: State
    position: int
    lag: int
    error: Exception | None


class System(Client):
    """An app running on a store: executes commands, appends events, queries read models and reads the log.

    `App.open` yields it; it is not constructed by applications.

    Attributes:
        store: the store, with all its ports (see `fait.store`).
    """

    def __init__(self, declarations: Declarations, store: Store, clock: Clock, lease_s: float) -> None:
        registry, codec = declarations.registry, declarations.codec
        self._snapshots = Snapshots(store.snapshots, registry)
        super().__init__(store.log, Loader(store.log, codec, self._snapshots), clock)
        self._declarations = declarations
        self.store = store
        self._event_loop = asyncio.get_running_loop()
        self._projections = {
            name: Projection(definition, codec, store.tables) for name, definition in declarations.read_models.items()
        }
        reactors = [Reactor(definition, codec, self) for definition in declarations.reactors.values()]
        self._subscriptions: list[Projection | Reactor] = [*self._projections.values(), *reactors]
        self._registrar = Registrar(declarations.name, [each.definition for each in self._subscriptions], store)
        retention = Retention(declarations.name, registry, store, clock)
        self._subscription_runner = Runner(self._subscriptions, store, retention, lease_s=lease_s)

    def _notify_commit(self) -> None:
        """Wake readers after a commit of new events. May be called from any thread."""
        with suppress(RuntimeError):  # the event loop is closed
            self._event_loop.call_soon_threadsafe(self.store.log.notify)

    @asynccontextmanager
    async def _run(self, changes: RegistrationChanges, *, start: bool) -> AsyncGenerator[None, None]:
        await self._prepare(changes)
        try:
            if start:
                await self._subscription_runner.start()
            yield
        finally:
            try:
                await self._subscription_runner.stop()
            finally:
                await self._snapshots.close()

    async def _prepare(self, changes: RegistrationChanges = RegistrationChanges()) -> None:
        """Register the subscriptions; raise if those that are registered do not match the declarations."""
        await self._registrar.apply(changes)
        await self._registrar.register()

    async def get(
        self, model: type[M], key: Any, /, *, after: WriteResult[Any] | None = None, timeout_s: float = FIND_TIMEOUT_S
    ) -> M | None:
        """Return the row with this key, or None.

        Args:
            model: the read model's class.
            key: value of its key column.
            after: read your writes: wait until the read model has processed this write.
            timeout_s: timeout for that, in seconds.

        Raises:
            UsageError: the read model is not included in the app, or the key has another type.
            Stale: the read model did not reach the write within the timeout.
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
        after: WriteResult[Any] | None = None,
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
            after: read your writes: wait until the read model has processed this write.
            timeout_s: timeout for that, in seconds.
            **where: column conditions, combined with AND: a value for equality, or a comparison such as
                `total=fait.ge(10)`.

        Returns:
            The rows as a list. Its `cursor` fetches the next page; None: there are no more rows.

        Raises:
            UsageError: the read model has no such column, or is not included in the app; or the cursor, the limit or a
                value is invalid.
            Stale: the read model did not reach the write within the timeout, or is being rebuilt.
        """
        if limit < 1:
            raise UsageError(f"limit= must be at least 1, not {limit}")
        definition = self._definition(model)
        if after is not None and not isinstance(after, WriteResult):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(
                "after= takes a WriteResult, as returned by transact, decide, publish and append, not "
                f"{type(after).__qualname__}"
            )
        order = sort_orders(definition, order_by)
        after_row = None if cursor is None else decode_cursor(definition, order, cursor)
        conditions, select = column_conditions(definition, where), self.store.tables.select
        read = partial(select, definition.table, conditions, order=order, after_row=after_row, limit=limit + 1)
        if after is not None:
            page = await self._wait_for(definition.name, after.position, Deadline(timeout_s), read)
        else:
            page = await read()
        rows: Rows[M] = Rows(definition.from_row(row) for row in page[:limit])
        if len(page) > limit > 0:
            rows.cursor = encode_cursor(definition, order, page[limit - 1])
        return rows

    async def wait(
        self, after: WriteResult[Any] | None = None, /, *models: type[ReadModel], timeout_s: float = FIND_TIMEOUT_S
    ) -> None:
        """Wait until subscriptions have processed a write.

        Args:
            after: the write; None: everything that is in the log now.
            *models: read models to wait for; none: all subscriptions of the app.
            timeout_s: timeout, in seconds.

        Raises:
            UsageError: a read model is not included in the app.
            Stale: a subscription did not reach the write within the timeout; the exception names it.
        """
        names = [self._definition(model).name for model in models] or list(self._subscription_runner.processors)
        position = await self.store.log.head() if after is None else after.position
        deadline = Deadline(timeout_s)
        for name in names:
            await self._wait_for(name, position, deadline, read_nothing)

    async def _wait_for(self, name: str, target: int, deadline: Deadline, read: Callable[[], Awaitable[E]]) -> E:
        processor = self._subscription_runner.processors[name]
        return await wait_for_position(processor, self.store.leases, target, deadline, read)

    async def status(self) -> list[SubscriptionStatus]:
        """Return position, lag and state of each subscription, as seen by this process."""
        checkpoints = lowest_positions(await self.store.leases.ranges())
        head, statuses = await self.store.log.head(), list[SubscriptionStatus]()
        for name, processor in self._subscription_runner.processors.items():
            position = max(processor.position, checkpoints.get(name, 0))
            lag = max(0, head - position)
            statuses.append(SubscriptionStatus(name, processor.state, position, lag, processor.error))
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
        name = self._definition(model).name
        await self._registrar.rebuild(name)
        self._subscription_runner.processors[name].restart()

    async def read(
        self, stream: str, /, *, after: int = 0, until: Until = Until(), limit: int = _DEFAULT_LIMIT
    ) -> list[Envelope[Any]]:
        """Return events of a stream, in order of their versions.

        Args:
            stream: name of the stream, such as "order-7".
            after: only events with a greater version.
            until: upper bounds of version, position or recording time.
            limit: maximum number of events.

        Returns:
            Envelopes; events of undeclared types are `Untyped`. An unknown stream gives an empty list.

        Raises:
            UsageError: `limit` is less than 1.
            UndecodableEvent: an event cannot be decoded.
        """
        events = await self.store.log.read_stream(stream, after=after, until=until, limit=limit)
        return [self._loader.codec.decode_envelope(each) for each in events]

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
            UndecodableEvent: an event cannot be decoded.
        """
        async for page in follow(self.store.log, after, query, live=follow_on):
            for event in page.events:
                yield self._loader.codec.decode_envelope(event)
