"""Every public call with arguments of wrong types: it returns, or raises an error of fait that names the argument."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import make_dataclass
from datetime import UTC, datetime
from inspect import getmembers, isawaitable, isfunction
from typing import Any, Self

import pytest

import fait
from fait._subscriptions.handler_log import HandlerBuffer, HandlerLog

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:SQLite .* can lose a commit:UserWarning", "ignore::ResourceWarning"),
]

Call = Callable[..., Any]


@fait.event("wrong.counted")
class Counted:
    number: int = 1


class Counter(fait.Aggregate, category="counter"):
    total: int = 0

    def count(self, number: Any = 1, tags: Any = ()) -> None:
        self.emit(Counted(number), tags=tags)

    def emit_any(self, event: Any) -> None:
        self.emit(event)

    def evolve(self, event: Counted) -> None:
        self.total += 1


class Count(fait.ReadModel, key="id"):
    id: str
    total: int = 0

    @classmethod
    def evolve(cls, row: Self | None, event: Counted, at: fait.Envelope) -> Self:
        return cls(id=at.stream_id, total=1)


def decider(**options: Any) -> Any:
    arguments: dict[str, Any] = {"category": "decided", "initial": int, "decide": _decide, "evolve": _evolve}
    return fait.Decider(**(arguments | options))


def boundary(**options: Any) -> Any:
    arguments: dict[str, Any] = {
        "name": "bound",
        "depends_on": lambda _: fait.Query(),
        "initial": int,
        "decide": _decide_streams,
        "evolve": _evolve,
    }
    return fait.Boundary(**(arguments | options))


def _decide(command: int, total: int) -> list[Counted]:
    return [Counted()]


def _decide_streams(command: int, total: int) -> list[fait.NewEvents]:
    return [fait.NewEvents("counter-1", [Counted()])]


def _evolve(total: int, event: Counted) -> int:
    return total + 1


def handle(event: Counted) -> None:
    """Handle nothing."""


def shop() -> fait.App:
    app = fait.App("wrong")
    app.include(Counted, Counter, Count)
    return app


@pytest.fixture
async def s() -> AsyncIterator[fait.System]:
    async with shop().open("memory:") as system:
        await system.publish(Counted(), stream="counter-1")
        yield system


def context(s: fait.System) -> fait.Context:
    envelope: Any = None
    return fait.Context(HandlerLog(s.store.log, fait.SystemClock(), HandlerBuffer()), s, envelope, 1)


async def events(s: Any, **arguments: Any) -> None:
    async for _ in s.events(**arguments):
        return


async def opened(url: Any = "memory:", **options: Any) -> None:
    async with shop().open(url, **options):
        pass


async def opened_app(name: Any) -> None:
    async with fait.App(name).open("memory:"):
        pass


def add(event: Any, **options: Any) -> None:
    connection = sqlite3.connect(":memory:")
    with connection:
        connection.execute("CREATE TABLE a (b)")
        connection.execute("INSERT INTO a VALUES (1)")
        try:
            shop().outbox(connection).add(event, **({"stream": "counter-1"} | options))
        except fait.UsageError as error:  # the arguments were accepted, if the database is what is wrong
            if "no fait store" not in str(error):
                raise


async def publish_caused_by(s: fait.System, **origin: Any) -> None:
    with fait.caused_by(**origin):
        await s.publish(Counted(), stream="a-1")


def subclass(base: Any, **options: Any) -> Any:
    """Declare a class with these class options."""
    members = {"__annotations__": {"total": int}, "total": 0, "evolve": Counter.evolve, "__module__": __name__}
    if base is fait.ReadModel:
        members["__annotations__"] = {"id": str}
        members["evolve"] = classmethod(Count.evolve.__func__)
    return type(base)("Declared", (base,), members, **options)


def upcasters(function: Any) -> Any:
    shop().include(function)
    return function


VALID_CLIENT_CALLS: dict[str, tuple[Call, dict[str, Any]]] = {
    "transact": (lambda s, command, id: s.transact(command, id), {"command": Counter.count, "id": "1"}),
    "transact event": (lambda s, event: s.transact(Counter.emit_any, "1", event), {"event": Counted()}),
    "transact tags": (lambda s, tags: s.transact(Counter.count, "1", 1, tags), {"tags": ["a:1"]}),
    "decide": (
        lambda s, decider, id, command: s.decide(decider, id, command),
        {"decider": decider(), "id": "1", "command": 1},
    ),
    "decide boundary": (
        lambda s, boundary, command: s.decide(boundary, command),
        {"boundary": boundary(), "command": 1},
    ),
    "decide of decider": (
        lambda s, **options: s.decide(decider(**options), "1", 1),
        {"category": "decided", "initial": int, "decide": _decide, "evolve": _evolve, "snapshot_every": None},
    ),
    "decide of boundary": (
        lambda s, **options: s.decide(boundary(**options), 1),
        {
            "name": "a",
            "depends_on": lambda _: fait.Query(),
            "initial": int,
            "decide": _decide_streams,
            "evolve": _evolve,
        },
    ),
    "decide result of decide": (
        lambda s, result: s.decide(decider(decide=lambda *_: result), "1", 1),
        {"result": [Counted()]},
    ),
    "decide result of boundary": (
        lambda s, result: s.decide(boundary(decide=lambda *_: result), 1),
        {"result": [fait.NewEvents("counter-1", [Counted()])]},
    ),
    "decide result of depends_on": (
        lambda s, result: s.decide(boundary(depends_on=lambda _: result), 1),
        {"result": [fait.Query()]},
    ),
    "query": (lambda s, query: s.query(query), {"query": fait.Query()}),
    "publish": (
        lambda s, event, **options: s.publish(event, **options),
        {"event": Counted(), "stream": "a-1", "tags": (), "occurred_at": None, "id": None},
    ),
    "publish untyped": (
        lambda s, **fields: s.publish(fait.Untyped(**fields), stream="a-1"),
        {"type": "other", "data": {}, "schema_version": 1},
    ),
    "append": (
        lambda s, new_events, only_if: s.append(new_events, only_if=only_if),
        {"new_events": fait.NewEvents("a-1", [Counted()]), "only_if": None},
    ),
    "append of new events": (
        lambda s, **fields: s.append(fait.NewEvents(**fields)),
        {"stream": "a-1", "events": [Counted()], "expected": "any", "tags": (), "occurred_at": None},
    ),
    "append of two": (
        lambda s, new_events: s.append(fait.NewEvents("a-1", [Counted()]), new_events),
        {"new_events": fait.NewEvents("b-1", [Counted()])},
    ),
    "load": (
        lambda s, target, id, **bounds: s.load(target, id, **bounds),
        {"target": Counter, "id": "1", "version": None, "position": None, "at": None, "as_of": None},
    ),
    "load_many": (lambda s, target, ids: s.load_many(target, ids), {"target": Counter, "ids": ["1"]}),
    "using": (
        lambda s, **options: s.using(**options).publish(Counted(), stream="a-1"),
        {"key": None, "scope": None, "expected": None, "attempts": None, "extra": None},
    ),
}
VALID_CALLS: dict[str, tuple[Call, dict[str, Any]]] = {
    **VALID_CLIENT_CALLS,
    **{
        f"context {name}": (lambda s, call=call, **each: call(context(s), **each), valid)
        for name, (call, valid) in VALID_CLIENT_CALLS.items()
    },
    "execute": (lambda s, sql: context(s).execute(sql), {"sql": "SELECT 1"}),
    "get": (
        lambda s, model, key, **o: s.get(model, key, **o),
        {"model": Count, "key": "1", "after": None, "timeout_s": 0},
    ),
    "find": (
        lambda s, model, **options: s.find(model, **options),
        {"model": Count, "order_by": None, "limit": 1, "cursor": None, "after": None, "timeout_s": 0, "total": 1},
    ),
    "find after": (
        lambda s, timeout_s: s.find(Count, after=fait.WriteResult(None, "", 1, 1), timeout_s=timeout_s),
        {"timeout_s": 1},
    ),
    "find ge": (lambda s, value: s.find(Count, total=fait.ge(value)), {"value": 1}),
    "find one_of": (lambda s, value: s.find(Count, total=fait.one_of(value)), {"value": 1}),
    "find between": (lambda s, low, high: s.find(Count, total=fait.between(low, high)), {"low": 1, "high": 1}),
    "find desc": (lambda s, column: s.find(Count, order_by=[fait.desc(column)]), {"column": Count.total}),
    "find order_by": (lambda s, column: s.find(Count, order_by=[column]), {"column": "total"}),
    "settle": (lambda s, after, timeout_s: s.settle(after, timeout_s=timeout_s), {"after": None, "timeout_s": 1}),
    "wait": (lambda s, after, timeout_s: s.wait(after, timeout_s=timeout_s), {"after": None, "timeout_s": 1}),
    "wait for model": (lambda s, model: s.wait(None, model), {"model": Count}),
    "token": (lambda s, after: s.token(after), {"after": 1}),
    "rebuild": (lambda s, model: s.rebuild(model), {"model": Count}),
    "read": (
        lambda s, stream, **o: s.read(stream, **o),
        {"stream": "counter-1", "after": 0, "until": fait.Until(), "limit": 1},
    ),
    "events": (events, {"after": 0, "query": fait.Query(), "follow_on": False}),
    "App": (lambda _, name: opened_app(name), {"name": "app"}),
    "include": (lambda _, thing: shop().include(thing), {"thing": Counted}),
    "on": (
        lambda _, event, **options: shop().on(event, **options)(handle),
        {"event": Counted, "name": "x", "start": "now", "on_failure": fait.FailurePolicy(), "timeout_s": 1, "batch": 1},
    ),
    "relay": (
        lambda _, event, **options: shop().relay(event, **options),
        {
            "event": Counted,
            "to": "memory:x",
            "topic": "counts",
            "key": None,
            "category": None,
            "name": "x",
            "start": "now",
            "as_version": 1,
            "sign": "${KEY}",
            "on_failure": fait.FailurePolicy(),
        },
    ),
    "consume": (
        lambda _, topic, **options: shop().consume(topic, **options)(handle),
        {
            "topic": "counts",
            "from_": "memory:x",
            "type": (),
            "as_": None,
            "trusts": (),
            "name": "x",
            "on_failure": fait.FailurePolicy(),
            "timeout_s": 1,
            "batch": 1,
            "concurrency": 1,
            "id_window_days": 7,
            "start": "end",
            "verify": (),
        },
    ),
    "on handler": (lambda _, handler: shop().on(Counted)(handler), {"handler": handle}),
    "on named handler": (lambda _, handler: shop().on(Counted, name="x")(handler), {"handler": handle}),
    "outbox": (
        lambda _, connection, **o: shop().outbox(connection, **o),
        {"connection": sqlite3.connect(":memory:"), "schema": "public"},
    ),
    "open": (
        lambda _, **options: opened(**options),
        {
            "url": "memory:",
            "run": "here",
            "clock": None,
            "renamed": None,
            "forget": (),
            "accept": (),
            "rebuild": (),
            "create": True,
            "lease_s": 10,
            "telemetry": None,
        },
    ),
    "add": (
        lambda _, **options: add(**options),
        {
            "event": Counted(),
            "stream": "a-1",
            "expected": "any",
            "tags": (),
            "occurred_at": None,
            "id": None,
            "key": None,
            "scope": "",
        },
    ),
    "Until": (
        lambda _, **o: fait.Until(**o),
        {"version": None, "position": None, "recorded_at": None, "occurred_at": None},
    ),
    "Query": (lambda s, **fields: s.query(fait.Query(**fields)), {"types": (), "tags": (), "category": None}),
    "Query.of": (
        lambda s, event, **o: s.query(fait.Query.of(event, **o)),
        {"event": Counted, "tags": (), "category": None},
    ),
    "FailurePolicy": (
        lambda _, **fields: fait.FailurePolicy(**fields),
        {"initial_s": 0.1, "max_s": 1.0, "attempts": None, "then": "stop", "too_new": "wait", "messages": "hide"},
    ),
    "ManualClock": (lambda _, moment: fait.ManualClock(moment), {"moment": datetime(2024, 1, 15, tzinfo=UTC)}),
    "advance": (
        lambda _, **amounts: fait.ManualClock(datetime(2024, 1, 15, tzinfo=UTC)).advance(**amounts),
        {"seconds": 0, "minutes": 0, "hours": 0, "days": 0},
    ),
    "caused_by": (
        publish_caused_by,
        {"correlation_id": None, "causation_id": None, "actor": None, "traceparent": None},
    ),
    "event": (
        lambda _, name, **o: fait.event(name, **o)(type("Declared", (), {})),
        {"name": "declared", "version": 1, "kw_only": False, "expires": None, "was": ()},
    ),
    "event class": (lambda _, cls: fait.event("declared")(cls), {"cls": type("Declared", (), {})}),
    "describe": (
        lambda _, name, **o: fait.describe(name, **o)(make_dataclass("Declared", ["number"])),
        {"name": "declared", "version": 1, "expires": None, "was": ()},
    ),
    "replace": (lambda _, event, number: fait.replace(event, number=number), {"event": Counted(), "number": 2}),
    "fold": (
        lambda _, cls, events, id: fait.fold(cls, events, id=id),
        {"cls": Counter, "events": [Counted()], "id": "1"},
    ),
    "renamed": (
        lambda _, old, new: upcasters(fait.upcast("wrong.old", 1, fait.renamed(old, new))),
        {"old": "a", "new": "b"},
    ),
    "dropped": (lambda _, path: upcasters(fait.upcast("wrong.old", 1, fait.dropped(path))), {"path": "a"}),
    "defaulted": (
        lambda _, path, value: upcasters(fait.upcast("wrong.old", 1, fait.defaulted(path, value))),
        {"path": "a", "value": 1},
    ),
    "upcast": (
        lambda _, name, version, change, **o: upcasters(fait.upcast(name, version, change, **o)),
        {"name": "wrong.old", "version": 1, "change": fait.dropped("a"), "to": None, "into": None},
    ),
    "upcast function": (
        lambda _, function: upcasters(fait.upcast("wrong.old", 1)(function)),
        {"function": lambda data: data},
    ),
    "downcast": (
        lambda _, name, version, change: upcasters(fait.downcast(name, version, change)),
        {"name": "wrong.old", "version": 2, "change": fait.dropped("a")},
    ),
    "drop_event": (
        lambda _, name, version: upcasters(fait.drop_event(name, version)),
        {"name": "wrong.old", "version": 1},
    ),
    "Aggregate": (lambda _, **o: subclass(fait.Aggregate, **o), {"category": "declared", "snapshot_every": None}),
    "ReadModel": (
        lambda _, **o: subclass(fait.ReadModel, **o),
        {"key": "id", "table": "declared", "indexes": (), "version": 1, "on_failure": fait.FailurePolicy()},
    ),
}


WRONG: list[Any] = [
    None,
    "5",
    b"secret",
    5,
    1.5,
    True,
    [1],
    {"a": "secret"},
    object(),
    Counter,
    Counted,
    Counted(),
    fait.Query,
    len,
]


FUNCTIONS = {"initial", "decide", "evolve", "depends_on", "function", "handler"}


async def outcome(call: Awaitable[Any]) -> Any:
    return await call if isawaitable(call) else call


@pytest.mark.parametrize("name", VALID_CALLS)
async def test_valid_call_is_accepted(s: fait.System, name: str) -> None:
    call, valid = VALID_CALLS[name]
    await outcome(call(s, **valid))


@pytest.mark.parametrize(
    ("name", "argument"), [(name, each) for name, (_, valid) in VALID_CALLS.items() for each in valid]
)
async def test_argument_of_a_wrong_type_is_refused_by_an_error_of_fait(
    s: fait.System, name: str, argument: str
) -> None:
    call, valid = VALID_CALLS[name]
    bare = list[str]()
    for wrong in WRONG:
        if callable(wrong) and argument in FUNCTIONS:
            continue  # a function that raises is an error of the application
        try:
            await outcome(call(s, **(valid | {argument: wrong})))
        except fait.DeclarationError:
            pass  # it may show the declaration
        except fait.FaitError as error:
            if "secret" in str(error):
                bare.append(f"{wrong!r} is shown: {error}")
        except Exception as error:
            bare.append(f"{wrong!r}: {type(error).__name__}: {error}")
    assert bare == []


WITHOUT_ARGUMENTS = {"close", "new_id", "now", "status", "transaction"}
LIKE_GE = {"gt", "le", "lt", "ne"}
OF_MSGSPEC = {"field"}  # raises a TypeError that names the argument


def test_calls_contain_each_public_function_and_method() -> None:
    exported = {name: getattr(fait, name) for name in fait.__all__}
    functions = {name for name, each in exported.items() if isfunction(each)}
    methods = {
        name
        for cls in (fait.App, fait.System, fait.Context, fait.Outbox)
        for name, each in getmembers(cls, isfunction)
        if not name.startswith("_")
    }
    called = {word for name in VALID_CALLS for word in name.removeprefix("find ").split()}
    assert functions | methods == (functions | methods) & (called | WITHOUT_ARGUMENTS | LIKE_GE | OF_MSGSPEC)
