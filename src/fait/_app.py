"""`App` collects the declarations of an application: what it includes, its handlers and its relays.

An app holds no connection, so modules create and extend it when they are imported, and each process and the command
line use the same object. The declarations are checked as a whole when they are used: their order does not matter.

    shop = fait.App("shop")
    shop.include(Order, OrderSummary)

    @shop.on(OrderPlaced)
    async def reserve_stock(event: OrderPlaced, ctx: fait.Context) -> None: ...

    async with shop.open("sqlite:///shop.db") as s:
        await s.transact(Order.place, "o-1", "c-1", items)
"""

import builtins
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, Unpack, cast, overload

from fait._arguments import check_items, check_type, described
from fait._clock import Clock
from fait._declarations import Declarations, declared_objects, resolve
from fait._delivery.inbox.consumer import ID_WINDOW_DAYS, ConsumerDefinition
from fait._delivery.inbox.received_event import MappedMessage
from fait._delivery.outbox.open import AsyncConnection, AsyncpgConnection, SyncConnection, open_outbox
from fait._delivery.outbox.outbox import AsyncOutbox, Outbox
from fait._delivery.relay.definition import PublishedVersion, RelayDefinition
from fait._delivery.wire.received import ReceivedMessage
from fait._errors import DeclarationError
from fait._events.event import event_type
from fait._subscriptions.failure import PARK_AT_ONCE, FailurePolicy
from fait._subscriptions.handler_calls import Handler
from fait._subscriptions.processor_group import LEASE_DURATION_S
from fait._subscriptions.reactor import HANDLER_TIMEOUT_S, Context, ReactorDefinition
from fait._subscriptions.registration import RegistrationChanges
from fait._subscriptions.subscription import Start
from fait._system import System, open_system
from fait._telemetry import Telemetry

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # slow to import
    from pathlib import Path

__all__ = ["App", "declarations_of", "open_changed"]

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
    concurrency: int
    order_key: Literal["stream", "all"]


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
        concurrency: int = 1,
        order_key: Literal["stream", "all"] = "stream",
    ) -> Any:
        """Declare a handler: a function called for every event of these types, at least once, in order for each stream.

        A handler that raises is called again for the same event, with back-off, until it succeeds or the attempts of
        `on_failure` are used up. Until then the later events of the same stream wait, while those of all other streams
        are handled. It may be `async` or not, and takes the event, or the event and a `Context`. The decorated function
        is returned unchanged.

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
            concurrency: maximum number of calls that run at the same time in a process, 1 to 500, each for the events
                of another stream. Use it for handlers that wait for other services.
            order_key: which events are handled in order: those of one "stream"; or "all", one at a time.

        Raises:
            DeclarationError: no event class is given, another reactor has this name, `batch` or `concurrency` is out of
                range, or the function cannot be called with an event.
        """

        def declare(name: str, handler: Handler) -> None:
            options = (start, on_failure, timeout_s, batch, concurrency, order_key)
            self._add_reactor(ReactorDefinition(name, events, handler, *options))

        decorator: _HandlerDecorator[Any] = _HandlerDecorator(name, declare)
        return decorator

    def relay(
        self,
        *events: type,
        to: str,
        topic: str | Callable[[Any], str | None],
        key: Callable[[Any], str] | None = None,
        category: str | None = None,
        name: str | None = None,
        start: Start = "now",
        as_version: PublishedVersion = MappingProxyType({}),
        sign: str | None = None,
        on_failure: FailurePolicy = PARK_AT_ONCE,
    ) -> None:
        """Declare a relay: it publishes events to a topic of a broker, in order of their keys, and each at least once.

            shop.relay(OrderPlaced, OrderPaid, to="nats://shop:${NATS_PASSWORD}@broker", topic="orders")

        Published events need no clean-up: the log is the outbox, and the checkpoint of the relay says what is
        published. If the broker can never accept an event, because it is too large for example, its key is parked, and
        other keys are published; `on_failure` changes that. If the broker is unavailable, the relay waits, and appends
        continue.

        Args:
            *events: the event classes to publish; none, with `category`: all of the app.
            to: URL of the broker: `memory:name`, `nats://host`, `redis://host`, `amqp://host`. `${NAME}` is the
                environment variable NAME; a password must be in one.
            topic: name of the topic, which must exist (`fait broker check --create`). Or a function of the event that
                returns the name, or None if the event is not published.
            key: function of the event that returns its key: messages with the same key keep their order. None: the key
                is the stream.
            category: publishes only events of the streams of this category. Another one is another definition, which
                an operator accepts (`DefinitionChanged`): old workers would pass over events that it adds.
            name: name of the subscription; by default "relay-" and the topic. It is part of the source of the
                messages: after a change of it, consumers do not recognize redelivered events.
            start: where a new relay starts: "now", at the end of the log, or at its "beginning".
            as_version: the schema version in which events are published, for consumers that read an older one. A number
                for all of the classes, or a dict from classes to numbers. Downcasters must lead there (`downcast`).
                Without it, events are published as they are stored.
            sign: the environment variable that has a key of at least 32 bytes, as `${NAME}`: each message is signed
                with it, for consumers with `verify`.
            on_failure: what follows an event that cannot be published; by default its key is parked after one attempt.
                `attempts` and delays are for errors that `topic`, `key` or a downcaster raises. What the broker can
                never accept is not tried again: `then` follows at once. Each error of the connection to the broker is
                an outage.

        Raises:
            DeclarationError: an argument is invalid, `to` contains a password, or another relay has this name.
        """
        relay = RelayDefinition(name, events, to, topic, key, category, start, as_version, sign, on_failure)
        if any(isinstance(each, RelayDefinition) and each.name == relay.name for each in self._included):
            raise DeclarationError(f"two relays are named {relay.name!r}: name one of them: app.relay(..., name='...')")
        self._included.append(relay)

    def consume(
        self,
        topic: str,
        /,
        *,
        from_: str,
        type: str | Sequence[str] = (),
        as_: "builtins.type | Callable[[ReceivedMessage], MappedMessage | None] | None" = None,
        trusts: Sequence[str] = (),
        name: str | None = None,
        start: Literal["beginning", "end"] = "beginning",
        on_failure: FailurePolicy = FailurePolicy(),
        timeout_s: float = HANDLER_TIMEOUT_S,
        batch: int = 1,
        concurrency: int = 1,
        id_window_days: float = ID_WINDOW_DAYS,
        verify: str | Sequence[str] = (),
    ) -> Any:
        """Declare a consumer: a handler that is called for the messages of a topic, in order for each key.

        It takes the message, or the message and a `Context`, as a handler of `on` does. What it does through its
        context, `ctx.execute` and decisions, is stored in the transaction in which the message is remembered: once,
        however often the message is delivered. A message that fails is retried, then parked, as its `on_failure` says;
        later messages with the same key wait for it.

        Args:
            topic: name of the topic.
            from_: URL of the broker, with `${NAME}` for a variable in it or for all of it, such as a password.
            type: types of the CloudEvents to handle; by default all, or those of the event class of `as_`.
            as_: what the handler gets. An event class: the event, converted to it from any version. Another class: the
                data, decoded to it. A function that takes a `ReceivedMessage` and returns a `MappedMessage`, or None
                for a message to pass over: for messages of any form. None: the `CloudEvent`.
            trusts: ids of the logs whose events are recognized by their positions, without a limit in time. Trust a log
                only if no other program can publish in its name. Messages of all others are recognized by their ids.
                `${NAME}` is the value of a variable.
            name: name of the subscription; by default the function's name. Do not change it.
            start: where the consumer begins when it is new: at the first message of the topic, or at its "end", after
                all messages that are there when it connects.
            on_failure: back-off between attempts, and what follows the last one. A malformed message is not retried.
            timeout_s: timeout for one message, in seconds.
            batch: maximum number of messages that are handled and committed together.
            concurrency: maximum number of calls that run at the same time, each for another key. One process consumes.
            id_window_days: number of days for which ids are kept. A message that is published again later than that is
                handled again.
            verify: the environment variables that have the keys with which relays sign messages, as `${NAME}`. A
                message without the signature of one of them is malformed.

        Raises:
            DeclarationError: an argument is invalid, another subscription has this name, or the function cannot be
                called with a message.
        """
        types, trusted = (type,) if isinstance(type, str) else _listed("type=", type), _listed("trusts=", trusts)
        keys = (verify,) if isinstance(verify, str) else _listed("verify=", verify)

        def declare(name: str, handler: Handler) -> None:
            events = (as_,) if isinstance(as_, builtins.type) and event_type(as_) is not None else ()
            options = ("beginning", on_failure, timeout_s, batch, concurrency, "stream")
            reactor = ReactorDefinition(name, events, handler, *options)
            others = (types, trusted, as_, id_window_days, keys, start)
            self._add_consumer(ConsumerDefinition(reactor, topic, from_, *others))

        decorator: _HandlerDecorator[Any] = _HandlerDecorator(name, declare)
        return decorator

    def _add_consumer(self, consumer: ConsumerDefinition) -> None:
        if any(isinstance(each, ConsumerDefinition) and each.name == consumer.name for each in self._included):
            raise DeclarationError(
                f"two consumers are named {consumer.name!r}: name one explicitly, with @app.consume(..., name='...')"
            )
        self._included.append(consumer)

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
            from fait._evolution.locks.require_locks import require_locks  # slow to import

            require_locks(declarations.registry, self._locks, declarations.published_versions)
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
        telemetry: Telemetry | None = None,
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
            lease_s: time without a heartbeat, in seconds, after which other processes may take over a subscription that
                this process runs.
            telemetry: gets metrics and spans, such as `fait.opentelemetry.OpenTelemetry()`; None: nothing is measured.

        Raises:
            UsageError: the URL names no store; `run`, `create`, `lease_s` or `telemetry` is invalid; a variable of a
                relay or consumer that this process would run is missing or has no valid value; `create` is false
                and there is no store; `accept` or `rebuild` names nothing of the app; `forget` or `renamed` names what
                never existed while a removed subscription remains; both names of a renamed subscription have a
                checkpoint, or it is a read model; or the table of a new read model already has rows, or is not one that
                fait has created.
            MissingExtra: the driver of the store is not installed.
            DeclarationError: the declarations contradict each other, or another app of the store has a subscription of
                the same name; `UnlockedEvents` if the app requires locks and an event type is a draft.
            StoreUnavailable: the store cannot be opened; `StoreTooNew` if a newer version of fait created it.
            SubscriptionsChanged: subscriptions were removed from the app and others were added to it.
            DefinitionChanged: the definition of a subscription changed since it was registered; of a read model, this
                is `ReadModelChanged`. Both tell what differs. With run="elsewhere" only reading the read model raises
                this.
            CheckpointMismatch: a checkpoint does not belong to this log.
            PositionExpired: a subscription would start where messages have been dropped.
        """
        renamed = check_type("renamed=", renamed or {}, Mapping, "a mapping of old names to new names")
        check_items("the names in renamed=", [*renamed, *renamed.values()], str, "of type str")
        for argument, names in {"forget=": forget, "accept=": accept, "rebuild=": rebuild}.items():
            check_items(argument, names, str, "a list of names")
        changes = RegistrationChanges(renamed, forget, accept, rebuild)
        options = {"run": run, "clock": clock, "create": create, "lease_s": lease_s, "telemetry": telemetry}
        async with self._open(url, changes, **options) as system:
            yield system

    @asynccontextmanager
    async def _open(self, url: str, changes: RegistrationChanges, **options: Any) -> AsyncGenerator[System, None]:
        async with open_system(self._resolve_locked(), url, changes=changes, **options) as system:
            self._systems.add(system)
            try:
                yield system
            finally:
                self._systems.discard(system)


def declarations_of(app: App) -> Declarations:
    """Return the declarations of an app; raise `DeclarationError` if they contradict each other."""
    return app._resolve()  # pyright: ignore[reportPrivateUsage]


def open_changed(app: App, url: str, changes: RegistrationChanges) -> AbstractAsyncContextManager[System]:
    """Run an app on an existing store, as `App.open` does, after changes that say by whom they are made, and why."""
    return app._open(url, changes, create=False)  # pyright: ignore[reportPrivateUsage]


def _listed(argument: str, texts: object) -> tuple[Any, ...]:
    if not isinstance(texts, Sequence) or isinstance(texts, str | bytes):
        raise DeclarationError(f"{argument} takes a list of texts, not {described(texts)}")
    return tuple(cast("Sequence[Any]", texts))
