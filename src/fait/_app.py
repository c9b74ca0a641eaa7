"""`App` collects the declarations of an application: what it includes, and its handlers.

An app holds no connection, so modules create and extend it when they are imported, and each process and the command
line use the same object. The declarations are checked as a whole when they are used: their order does not matter.

    shop = fait.App("shop")
    shop.include(Order, OrderSummary)

    @shop.on(OrderPlaced)
    async def reserve_stock(event: OrderPlaced, ctx: fait.Context) -> None: ...

    async with shop.open("sqlite:///shop.db") as s:
        await s.transact(Order.place, "o-1", "c-1", items)
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, Unpack, overload

from fait._arguments import check_items, check_type
from fait._clock import Clock
from fait._declarations import Declarations, declared_objects, resolve
from fait._delivery.outbox.open import AsyncConnection, AsyncpgConnection, SyncConnection, open_outbox
from fait._delivery.outbox.outbox import AsyncOutbox, Outbox
from fait._errors import DeclarationError
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.handler_calls import Handler
from fait._subscriptions.processor import LEASE_DURATION_S
from fait._subscriptions.reactor import HANDLER_TIMEOUT_S, Context, ReactorDefinition
from fait._subscriptions.registration import RegistrationChanges
from fait._subscriptions.subscription import Start
from fait._system import System, open_system

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # slow to import
    from pathlib import Path

__all__ = ["App", "declarations_of"]

E = TypeVar("E")
E1 = TypeVar("E1")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
E4 = TypeVar("E4")
E5 = TypeVar("E5")
E6 = TypeVar("E6")


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
        name = getattr(handler, "__name__", None) if self._name is None else self._name
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
        locks: the folder of locks, for production: `open` and `outbox` refuse the app if the current version of an
            event type is not locked there, or if its class was changed since. A path relative to the working directory,
            or a folder of a package: `importlib.resources.files("shop") / "events"`. None: drafts are allowed.

    Attributes:
        name: name of the app.
    """

    def __init__(self, name: str, *, locks: "str | Path | Traversable | None" = None) -> None:
        self.name = name
        self._locks = locks
        self._locked: Declarations | None = None  # the declarations whose locks were checked
        self._included: list[Any] = []  # objects and reactors, in order; it only grows
        self._resolved: tuple[int, Declarations] | None = None  # declarations, and the number of objects they are of
        self._systems: set[System] = set()

    def include(self, *things: Any) -> None:
        """Include aggregates, deciders, boundaries, read models, event classes and upcasters.

        Events that an included `evolve` or a handler accepts are included with it. An event whose class is not included
        cannot be appended, and is read as `Untyped`. An open system and an existing outbox have what was included
        before.

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
                stopped by the timeout: it is called again only after the first call has returned.
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

    def _resolve_locked(self) -> Declarations:
        """Return the declarations, after a check of their locks if the app requires locks."""
        declarations = self._resolve()
        if self._locks is not None and self._locked is not declarations:
            from fait._evolution.require_locks import require_locks  # slow to import

            require_locks(declarations.registry, self._locks)
            self._locked = declarations
        return declarations

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
            DeclarationError: the declarations contradict each other; `UnlockedEvents` if the app requires locks and an
                event type is a draft.
        """
        return open_outbox(connection, self._resolve_locked().codec, schema, self._notify_systems)

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
    ) -> AsyncGenerator[System, None]:
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
            UsageError: the URL names no store; `run` or `lease_s` is invalid; `accept` or `rebuild` names nothing of
                the app; `forget` or `renamed` names what never existed while a removed subscription remains; both names
                of a renamed subscription have a checkpoint, or it is a read model; or the table of a new read model
                already has rows, or is not one that fait has created.
            MissingExtra: the driver of the store is not installed.
            DeclarationError: the declarations contradict each other, or another app of the store has a subscription of
                the same name; `UnlockedEvents` if the app requires locks and an event type is a draft.
            StoreUnavailable: the store cannot be opened; `StoreTooNew` if a newer version of fait created it.
            SubscriptionsChanged: subscriptions were removed from the app and others were added to it.
            ReadModelChanged: the definition of a read model changed since its table was built.
            CheckpointMismatch: a checkpoint does not belong to this log.
            PositionExpired: a subscription would start where messages have been dropped.
        """
        check_type("renamed=", renamed or {}, Mapping, "a mapping of old names to new names")
        for argument, names in {"forget=": forget, "accept=": accept, "rebuild=": rebuild}.items():
            check_items(argument, names, str, "a list of names")
        changes = RegistrationChanges(renamed or {}, forget, accept, rebuild)
        async with open_system(
            self._resolve_locked(), url, run=run, clock=clock, changes=changes, create=create, lease_s=lease_s
        ) as system:  # fmt: skip
            self._systems.add(system)
            try:
                yield system
            finally:
                self._systems.discard(system)


def declarations_of(app: App) -> Declarations:
    """Return the declarations of an app; raise `DeclarationError` if they contradict each other."""
    return app._resolve()  # pyright: ignore[reportPrivateUsage]
