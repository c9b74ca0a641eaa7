"""The calls of an open system: decide, append, query and load. `using` sets options separately from the arguments.

The first of these calls uses the default options, the second sets two of them:

    await s.transact(Order.place, "o-1", "c-1", items)
    await s.using(key="req-17", expected=7).transact(Order.place, "o-1", "c-1", items)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from types import CoroutineType
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, overload

from fait._affinity import Affinity
from fait._arguments import check_iterable, check_time, check_type
from fait._clock import Clock
from fait._decisions.aggregate import Aggregate, command_of, describe_aggregate, fold_definition_of, pending_events
from fait._decisions.boundary import Boundary, BoundaryHistory, QueryResult
from fait._decisions.calls import Options, WriteResult, write_result
from fait._decisions.decider import DecidedEvent, Decider, FoldDefinition, fold_definition_of_decider
from fait._decisions.decision_loop import decide
from fait._decisions.idempotency import Intention, append, check_key
from fait._decisions.load import Loader
from fait._decisions.log import DecisionLog, ReadMatching
from fait._decisions.new_events import NewEvents, encode_append
from fait._decisions.stream_history import StreamHistory
from fait._errors import UsageError
from fait._events.append import Until
from fait._events.codec import encode_data
from fait._events.query import Query, check_queries
from fait._events.stream import stream_name
from fait._events.version import Expected

__all__ = ["Client", "Observe"]

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")
R = TypeVar("R")
P = ParamSpec("P")


Observe = Callable[[str, str], AbstractContextManager[None]]
"""Measures a command: from its name and the category of its stream ("" for a boundary) to a context manager."""

_UNOBSERVED: Final = nullcontext()


class Client:
    """Makes decisions, appends events and loads state. `System` and a handler's `Context` are clients.

    Applications do not construct a client; `using` returns one with other options. Its calls raise `UsageError` in
    another process or event loop than the one in which the system was opened.
    """

    def __init__(
        self,
        log: DecisionLog,
        read: ReadMatching,
        loader: Loader,
        clock: Clock,
        options: Options = Options(),
        affinity: Affinity | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._observe = observe
        self._log = log  # all appends of the client go to it, through `idempotency.py`
        self._read = read
        self._any_loader = loader
        self._affinity = affinity or Affinity("system")
        self._clock = clock
        self._options = options

    def __reduce__(self) -> str | tuple[Any, ...]:
        self._affinity.refuse_copy()

    @property
    def _loader(self) -> Loader:
        """The loader of a call, which every call uses before it reads or writes: raises in another process or loop."""
        self._affinity.check()
        return self._any_loader

    def _reader(self, call: str) -> Loader:
        """Return the loader of a call that only reads. An expected version would be an assertion without effect."""
        # fault: expected-version-of-read-ignored
        if self._options.expected is not None:
            raise UsageError(
                f"using(expected=...) applies to writes, and {call}(...) only reads: it does not check the version. "
                f"Call {call} of a client without it, and compare the version, or set it for the write."
            )
        return self._loader

    def using(
        self,
        *,
        key: str | None = None,
        scope: str | None = None,
        expected: Expected | None = None,
        attempts: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> "Client":
        """Return a client with other options; those not given are taken over from this one.

        Args:
            key: idempotency key: names one intention of a caller, in the whole log. A second call with the same key
                appends nothing and returns where the first call's events are stored, with `repeated` set. If it is not
                the same call (another command, arguments, stream or events), it raises `KeyReused`; `extra` and
                `occurred_at` are not compared. The result's `value` is not stored: to compute it, the command runs
                again on the state that the first call decided on. The key is remembered as long as the events; a
                decision without events is remembered too. Arguments of the command must be JSON values or records.
                They are compared as values: 10 and 10.0 are the same, an instant in two time zones, Decimal("1.0") and
                Decimal("1.00"). The events of `publish` and `append` are compared as JSON values.
            scope: scope of the key, and only with one: the same key in another scope is another key. By default "",
                which all callers share.
            expected: the version that the stream must have, or "no_stream", "exists" or "any". A conflict is then an
                error immediately; the call is not retried. Calls that only read refuse it.
            attempts: maximum number of times that a decision is made when appends conflict, at least 1; 32 by default.
            extra: further entries of the events' metadata, as JSON values.

        Raises:
            UsageError: `attempts` is less than 1, `key` is empty or not a str, `scope` is set without a key, or a name
                in `extra` is not a str.
        """
        current = self._options
        return Client(
            self._log,
            self._read,
            self._any_loader,
            self._clock,
            Options(
                key=current.key if key is None else key,
                scope=current.scope if scope is None else scope,
                expected=current.expected if expected is None else expected,
                attempts=current.attempts if attempts is None else attempts,
                extra=current.extra if extra is None else extra,
            ),
            self._affinity,
            self._observe,
        )

    async def transact(
        self,
        command: Callable[Concatenate[A, P], R],
        id: str,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> WriteResult[R]:
        """Load an aggregate, run a command on it and append the events it emits; on a version conflict, retry.

        The command may run several times, each time on newly loaded state, so it must not have effects of its own.
        If it emits no events, nothing is appended, unless there is a key to remember.

        Args:
            command: a method of an aggregate, accessed through its class: `Order.place`.
            id: id of the aggregate: "7" for the stream `order-7`.
            *args: positional arguments of the command.
            **kwargs: keyword arguments of the command.

        Returns:
            The command's return value as `value`, and where its events are stored.

        Raises:
            Rejected: the command raised it; nothing was written.
            WrongExpectedVersion: the stream is not at the version given by `using(expected=...)`, or every attempt met
                a version conflict; nothing was written.
            KeyReused: the idempotency key was used for another command, stream or arguments, or for an append; nothing
                was written.
            InvalidValue: an event or argument cannot be stored, or an argument can be read only once; nothing was
                written.
            UsageError: `command` is not a command, is async, or changed its arguments before a conflict, or the class
                of an event is not included in the app; nothing was written.
            UndecodableEvent: an event of the stream cannot be decoded; nothing was written.
            StoreUnavailable: `outcome` says whether the events may have been written.
        """
        checked = command_of(command)
        aggregate: Any = checked.aggregate
        description, run = describe_aggregate(aggregate), checked.function
        name = f"{description.category}.{run.__name__}"

        def run_command(state: A) -> tuple[R, Sequence[DecidedEvent]]:
            value: Any = run(state, *args, **kwargs)
            if isinstance(value, CoroutineType):
                value.close()
                raise _async_command_error(name)
            return value, pending_events(state)

        return await self._transact(description.fold, id, name, checked.arguments(args, kwargs), run_command)

    async def _transact(
        self,
        definition: FoldDefinition[S],
        id: str,
        name: str,
        arguments: Mapping[str, Any],
        run: Callable[[S], tuple[R, Sequence[DecidedEvent]]],
    ) -> WriteResult[R]:
        loader, stream = self._loader, stream_name(definition.category, id)
        with self._observe(name, definition.category) if self._observe else _UNOBSERVED:
            intention = Intention(self._options, (name, arguments), stream=stream)
            history = StreamHistory(loader, definition, stream, run)
            result = await decide(history, intention, self._log, self._clock)
        if history.loaded.new_snapshot is not None:
            loader.save_snapshot(history.loaded.new_snapshot)
        return result

    @overload
    async def decide(self, decider: Decider[C, S, E], id: str, command: C, /) -> WriteResult[Sequence[E]]: ...
    @overload
    async def decide(self, boundary: Boundary[C, S, E], command: C, /) -> WriteResult[Sequence[NewEvents]]: ...
    async def decide(
        self, decider: Decider[Any, Any, Any] | Boundary[Any, Any, Any], *arguments: Any
    ) -> WriteResult[Any]:
        """Let a decider or a boundary decide a command, and append the events; on a conflict, retry.

            await s.decide(cart, "7", AddItem("tea"))               # a decider, an id, a command
            await s.decide(sell_seats, Sell(show="hamlet", seats=2))  # a boundary, a command

        `decide` may run several times, each time on a new state, so it must not have effects of its own. If it decides
        no events, nothing is appended.

        Args:
            decider: the decider or the boundary.
            *arguments: for a decider, the id of the stream and the command; for a boundary, the command.

        Returns:
            The decided events as `value`: a decider's events, or a boundary's `NewEvents`. `stream` and `version` are
            those of the decider's stream, or of the boundary's first stream.

        Raises:
            Rejected: `decide` raised it; nothing was written.
            WrongExpectedVersion: a stream is not at its expected version, or every attempt of a decider met a version
                conflict; nothing was written.
            AppendConditionFailed: at every attempt of a boundary, an event that it depends on was recorded between
                reading and appending; nothing was written.
            KeyReused: the idempotency key was used for another command, stream or arguments, or for an append; nothing
                was written.
            InvalidValue: an event or the command cannot be stored, or a part of the command can be read only once;
                nothing was written.
            UsageError: `using(expected=...)` was set for a boundary, `decide` changed the command before a conflict, or
                the class of an event is not included in the app; nothing was written.
            DeclarationError: `depends_on` of a boundary returned no query; nothing was written.
            UndecodableEvent: an event cannot be decoded; nothing was written.
            StoreUnavailable: `outcome` says whether the events may have been written.
        """
        if len(arguments) != (1 if isinstance(decider, Boundary) else 2):
            raise UsageError(
                "decide takes a boundary and a command, or a decider, the id of its stream and a command. "
                "Nothing was written."
            )
        if isinstance(decider, Boundary):
            return await self._decide_boundary(decider, *arguments)
        check_type("decider", decider, Decider, "a Decider, or a Boundary")
        id, command = arguments

        def events(decided: Iterable[E]) -> Iterable[E]:
            return check_iterable(f"the result of decide of {decider.category!r}", decided, "a collection of events")

        def run(state: Any) -> tuple[Sequence[Any], Sequence[DecidedEvent]]:
            # Encoded one by one: `decide` may be a generator that changes the state between two events.
            decided = [DecidedEvent(event, encode_data(event)) for event in events(decider.decide(command, state))]
            return [each.event for each in decided], decided

        name = f"{decider.category}.{type(command).__name__}"
        return await self._transact(fold_definition_of_decider(decider), id, name, {"command": command}, run)

    async def _decide_boundary(self, boundary: Boundary[C, S, E], command: C) -> WriteResult[Sequence[NewEvents]]:
        if self._options.expected is not None:
            raise UsageError(
                f"using(expected=...) does not apply to the boundary {boundary.name!r}, which has no stream. Nothing "
                f"was written. Set it in NewEvents(..., expected=...) of its decide function."
            )
        name = f"{boundary.name}.{type(command).__name__}"
        loader = self._loader
        with self._observe(name, "") if self._observe else _UNOBSERVED:
            intention = Intention(self._options, (name, {"command": command}))
            history = BoundaryHistory(self._read, loader.codec, boundary, command)
            return await decide(history, intention, self._log, self._clock)

    async def query(self, *queries: Query) -> QueryResult:
        """Read all events that match any of the queries, and the position up to which the result is complete.

        Pass the result to `append(..., only_if=result)` to append only if no further event matches. Events of
        undeclared types are `Untyped`.

        Args:
            *queries: at least one; `Query()` matches all events. All matching events are held in memory.

        Raises:
            UsageError: no query was given, or `using(expected=...)` was set.
            UndecodableEvent: an event cannot be decoded.
        """
        if not queries:
            raise UsageError("query() needs at least one Query; Query() matches all events.")
        codec = self._reader("query").codec
        stored_queries = tuple(map(codec.registry.names.stored_query, check_queries("queries", queries)))
        stored, position = await self._read(stored_queries, 0)
        return QueryResult(list(codec.decode_selected(stored, queries)), stored_queries, position)

    async def publish(
        self,
        event: object,
        /,
        *,
        stream: str,
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
        id: str | None = None,
    ) -> WriteResult[None]:
        """Append one event to a stream, without an aggregate. All subscriptions to its type will handle it.

        Args:
            event: an instance of an event class, or `Untyped`.
            stream: name of the stream, as "category-id". Handlers process the events of a stream in order.
            tags: further entities that the event belongs to, each as "kind:id".
            occurred_at: the time the fact became true, as an aware datetime; None: the time the event is recorded.
            id: the event's id, a UUID chosen by the caller, in place of a key. A second call with the same id and the
                same event writes nothing.

        Returns:
            Where the event is stored. `value` is None.

        Raises:
            WrongExpectedVersion: the stream is not at the version given by `using(expected=...)`; nothing was written.
            DuplicateEventId: another event has this id; nothing was written.
            KeyReused: the idempotency key was used for another event, or for a command; nothing was written.
            InvalidValue: the event cannot be stored; nothing was written.
            UsageError: the event's class is not included in the app, or an argument is malformed; nothing was
                written.
            StoreUnavailable: `outcome` says whether the event may have been written.
        """
        expected = "any" if self._options.expected is None else self._options.expected
        return await self._append([NewEvents(stream, [event], expected, tags, occurred_at)], id)

    async def append(self, *new_events: NewEvents, only_if: QueryResult | None = None) -> WriteResult[None]:
        """Append events to one or several streams atomically: all of them, or none.

        Args:
            *new_events: the events of each stream, at most 10,000 in total. Each stream is named once.
            only_if: a result of `query`: append only if no further event matches its queries.

        Returns:
            `stream` and `version` are those of the first stream; `position` is that of the last event. `value` is
            None. Positions increase in the order of the events. On PostgreSQL they are not contiguous if other appends
            run at the same time: do not compute the position of an event from that of another.

        Raises:
            WrongExpectedVersion: a stream is not at its expected version; nothing was written.
            AppendConditionFailed: a further event matches the queries of `only_if`; nothing was written.
            KeyReused: the idempotency key was used for other events, or for a command; nothing was written.
            InvalidValue: an event cannot be stored; nothing was written.
            UsageError: the arguments are malformed, `using(expected=...)` was set, or the class of an event is not
                included in the app; nothing was written.
            StoreUnavailable: `outcome` says whether the events may have been written.
        """
        if self._options.expected is not None:
            raise UsageError(
                "using(expected=...) does not apply to append(). Pass NewEvents(..., expected=...) for each stream. "
                "Nothing was written."
            )
        return await self._append(new_events, only_if=only_if)

    async def _append(
        self,
        new_events: Sequence[NewEvents],
        event_id: str | None = None,
        only_if: QueryResult | None = None,
    ) -> WriteResult[None]:
        if not new_events:
            raise UsageError("append() needs at least one NewEvents(stream, events). Nothing was written.")
        if only_if is not None:
            check_type("only_if=", only_if, QueryResult, "the result of query(...)")
        intention = Intention(self._options, event_id=event_id)
        writes = encode_append(self._loader.codec, new_events, intention)
        condition = only_if and only_if.condition
        result = await append(self._log, intention, writes, condition)
        if self._options.key is not None:
            await check_key(self._log, intention, writes, result)
        return write_result(None, writes, result)

    @overload
    async def load(
        self,
        target: type[A],
        id: str,
        /,
        *,
        version: int | None = None,
        position: int | None = None,
        at: datetime | None = None,
        as_of: datetime | None = None,
    ) -> A: ...
    @overload
    async def load(
        self,
        target: Decider[C, S, E],
        id: str,
        /,
        *,
        version: int | None = None,
        position: int | None = None,
        at: datetime | None = None,
        as_of: datetime | None = None,
    ) -> S: ...
    async def load(
        self,
        target: type[Aggregate] | Decider[Any, Any, Any],
        id: str,
        /,
        *,
        version: int | None = None,
        position: int | None = None,
        at: datetime | None = None,
        as_of: datetime | None = None,
    ) -> Any:
        """Load the state of an aggregate or a decider, current or past. A missing stream gives the initial state.

        The upper bounds may be combined; all of them apply.

        Args:
            target: the aggregate's class, or the decider.
            id: the id of the aggregate, or of the decider's stream.
            version: include events up to this version of the stream.
            position: include events up to this position of the log.
            at: include events recorded up to this time, an aware datetime. The state is the one known at that time.
            as_of: include events that occurred up to this time, an aware datetime, even if they were recorded later.
                They are folded in the order of versions.

        Returns:
            The aggregate, or the state of the decider.

        Raises:
            UsageError: a version or position is not an integer from 0 to 2**63 - 1, a time has no time zone, or
                `using(expected=...)` was set.
            UndecodableEvent: an event of the stream cannot be decoded.
            StoreUnavailable: the store cannot be read.
        """
        recorded_at = None if at is None else check_time("at", at)
        occurred_at = None if as_of is None else check_time("as_of", as_of)
        until = Until(version, position, recorded_at, occurred_at)
        definition = _fold_definition_of(target)
        loader = self._reader("load")
        loaded = await loader.load(definition, stream_name(definition.category, id), until)
        if loaded.new_snapshot is not None:
            loader.save_snapshot(loaded.new_snapshot)
        return loaded.state

    @overload
    async def load_many(self, target: type[A], ids: Iterable[str], /) -> dict[str, A]: ...
    @overload
    async def load_many(self, target: Decider[C, S, E], ids: Iterable[str], /) -> dict[str, S]: ...
    async def load_many(
        self, target: type[Aggregate] | Decider[Any, Any, Any], ids: Iterable[str], /
    ) -> dict[str, Any]:
        """Load the current states of many aggregates, or of many streams of a decider, with few queries.

        Each state is the one that `load` returns. They are not read in one transaction and may be of different times.

        Args:
            target: the aggregate's class, or the decider.
            ids: the ids to load; duplicates are ignored.

        Returns:
            The state for each id, in the order of `ids`. A missing stream gives the initial state.

        Raises:
            UsageError: `using(expected=...)` was set.
            UndecodableEvent: an event of a stream cannot be decoded.
            StoreUnavailable: the store cannot be read.
        """
        check_iterable("ids", ids, "a collection of ids")
        definition = _fold_definition_of(target)
        return {id: loaded.state for id, loaded in (await self._reader("load_many").load_many(definition, ids)).items()}


def _fold_definition_of(target: type[Aggregate] | Decider[Any, Any, Any]) -> FoldDefinition[Any]:
    return fold_definition_of_decider(target) if isinstance(target, Decider) else fold_definition_of(target)


def _async_command_error(name: str) -> UsageError:
    return UsageError(
        f"the command {name} is async, but a command must be a plain function: it may run more than once. Await "
        f"its inputs first, and pass the results as arguments. Nothing was written."
    )
