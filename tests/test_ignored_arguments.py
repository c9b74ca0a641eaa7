"""Every optional argument of the public calls has an effect, alone and together with each other one, or is refused.

Each call runs on a store of its own, with an argument left out and with a value that must show in the result, in the
log or in an error. An argument that names, asserts or selects something may not be ignored. A limit may, where nothing
can reach it, and an option of writes by a call that only reads. A new optional argument fails the last test until it
is listed here.
"""

import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec
import pytest
from msgspec import structs

import fait
from fait._delivery.outbox.outbox import OutboxBuffer, OutboxEntry
from tests.test_wrong_types import boundary, decider, opened

pytestmark = pytest.mark.anyio

Call = Callable[..., Awaitable[Any]]

START = datetime(2024, 1, 15, tzinfo=UTC)
ID = "0190a1b2-0000-7000-8000-000000000001"


@fait.event("wrong.counted")
class Counted:
    number: int = 1


class Counter(fait.Aggregate, category="counter"):
    total: int = 0

    def count(self) -> None:
        self.emit(Counted())

    def evolve(self, event: Counted) -> None:
        self.total += event.number


class Count(fait.ReadModel, key="id"):
    id: str
    total: int = 0

    @classmethod
    def evolve(cls, row: Self | None, event: Counted, at: fait.Envelope) -> Self:
        return cls(id=at.stream_id, total=(row.total if row else 0) + event.number)


def _sum(total: int, event: Counted) -> int:
    return total + event.number


DECIDER = decider(category="counter", decide=lambda _command, _total: [Counted()], evolve=_sum)
BOUNDARY = boundary(decide=lambda _command, _total: [fait.NewEvents("counter-1", [Counted()])], evolve=_sum)


async def collect(s: fait.System, **options: Any) -> list[Any]:
    return [each async for each in s.events(**options)]


def add_to_outbox(s: fait.System, **options: Any) -> Any:
    """Encode an event as an outbox does, without a database."""
    buffer = OutboxBuffer(s._loader.codec, "public")
    defaults = {"expected": "any", "tags": (), "occurred_at": None, "id": None, "key": None, "scope": ""}
    buffer.add(OutboxEntry(Counted(), "counter-1", **(defaults | options)))
    [(write, intention)] = buffer._writes
    [event] = write.events
    return write.expected, structs.replace(event, id="" if intention.has_new_ids else event.id)


READ = {"key": "k", "scope": "s", "attempts": 1, "extra": {"a": 1}}
USING = {**READ, "expected": "no_stream"}
BOUNDS = {"version": 1, "position": 1, "at": START, "as_of": START}
FACT = {"tags": ["b:1"], "occurred_at": START}
WRITES: dict[str, Call] = {
    "transact": lambda client: client.transact(Counter.count, "1"),
    "decide": lambda client: client.decide(DECIDER, "1", 1),
    "decide of boundary": lambda client: client.decide(BOUNDARY, 1),
    "publish": lambda client: client.publish(Counted(), stream="counter-1"),
    "append": lambda client: client.append(fait.NewEvents("counter-1", [Counted()])),
}
READS: dict[str, Call] = {
    "load": lambda client: client.load(Counter, "1"),
    "load_many": lambda client: client.load_many(Counter, ["1"]),
    "query": lambda client: client.query(fait.Query()),
}
CALLS: dict[str, tuple[Call, dict[str, Any]]] = {
    **{
        f"Client.using and {name}": (lambda s, call=call, **options: call(s.using(**options)), USING)
        for name, call in (WRITES | READS).items()
    },
    "Client.publish": (lambda s, **o: s.publish(Counted(), stream="counter-1", **o), {**FACT, "id": ID}),
    "Client.append": (
        lambda s, **o: s.append(fait.NewEvents("counter-1", [Counted()]), **o),
        {"only_if": fait.QueryResult([], (fait.Query(),), 0)},
    ),
    "NewEvents": (
        lambda s, **o: s.append(fait.NewEvents("counter-1", [Counted()], **o)),
        {**FACT, "expected": "no_stream"},
    ),
    "Client.load": (lambda s, **o: s.load(Counter, "1", **o), BOUNDS),
    "System.read": (
        lambda s, **o: s.read("counter-1", **o),
        {"after": 1, "until": fait.Until(version=1), "limit": 1},
    ),
    "Until": (
        lambda s, **o: s.read("counter-1", until=fait.Until(**o)),
        {"version": 1, "position": 1, "recorded_at": START, "occurred_at": START},
    ),
    "System.events": (collect, {"after": 1, "query": fait.Query(tags=("a:1",))}),
    "Query": (
        lambda s, **o: s.query(fait.Query(**o)),
        {"types": ("other",), "tags": ("a:1",), "category": "other"},
    ),
    "Query.of": (lambda s, **o: s.query(fait.Query.of(Counted, **o)), {"tags": ("a:1",), "category": "other"}),
    "System.find": (
        lambda s, **o: s.find(Count, **o),
        {"order_by": "total", "limit": 1, "cursor": "x", "after": 10**6, "timeout_s": 1, "total": fait.lt(3)},
    ),
    "System.get": (lambda s, **o: s.get(Count, "1", **o), {"after": 10**6, "timeout_s": 1}),
    "System.wait": (lambda s, **o: s.wait(**o), {"timeout_s": 1}),
    "System.settle": (lambda s, after=None, **o: s.settle(after, **o), {"after": 10**6, "timeout_s": 1}),
    "Outbox.add": (
        lambda s, **o: written(lambda: add_to_outbox(s, **o)),
        {**FACT, "expected": "no_stream", "id": ID, "key": "k", "scope": "s"},
    ),
    "App.open": (
        lambda _, **o: opened(**o),
        {
            "run": "nowhere",
            "clock": 1,
            "renamed": {"a": 1},
            "forget": [1],
            "accept": ["a"],
            "rebuild": ["a"],
            "create": False,
            "lease_s": 1,
            "telemetry": 1,
        },
    ),
    "FailurePolicy": (
        lambda _, **o: written(lambda: fait.FailurePolicy(**o)),
        {
            "initial_s": 1.0,
            "max_s": 1.0,
            "attempts": 1,
            "then": "skip",
            "too_new": "skip",
            "outages": (OSError,),
            "messages": "hide",
        },
    ),
    "fold": (lambda _, **o: written(lambda: fait.fold(Counter, [], **o)), {"id": "1"}),
    "event": (
        lambda _, **o: written(lambda: repr(fait.event("declared", **o)(type("Declared", (), {}))())),
        {"version": 0, "kw_only": "no", "expires": timedelta(0), "was": ("",)},
    ),
    "describe": (
        lambda _, **o: written(lambda: fait.describe("declared", **o)(Counted)),
        {"version": 0, "expires": timedelta(0), "was": ("",)},
    ),
    "upcast": (
        lambda _, **o: written(lambda: fait.upcast("wrong.old", 1, **o)(lambda data: data)),
        {"to": ("other", 1), "into": ("other",)},
    ),
}
BOUNDED_BY_ANOTHER = {"Client.load", "Until", "System.read", "System.events"}
"""Calls whose arguments are bounds of the same thing: a wide one shows nothing next to a narrow one."""

LIMITS = {"attempts", "timeout_s", "lease_s", "initial_s", "max_s"}
WITHOUT_EFFECT = {(f"Client.using and {call}", option) for call in READS for option in READ}
"""Options of the events that a call writes."""


async def written(call: Callable[[], Any]) -> Any:
    return call()


def shown(value: Any) -> str:
    """Return a result as text, without generated ids."""
    if isinstance(value, fait.Envelope):
        return repr((value.stream, value.version, value.event))
    if isinstance(value, fait.Upcaster):
        return repr((value.name, value.from_version, value.target, value.into))
    if isinstance(value, Counter):
        return f"{value.id} {value.total}"
    if isinstance(value, list):
        return str([shown(each) for each in value])
    return (
        repr([shown(each) for each in structs.astuple(value)]) if isinstance(value, fait.QueryResult) else repr(value)
    )


async def observe(name: str, arguments: dict[str, Any]) -> tuple[bool, Any]:
    """Return whether a call was refused, and everything that it did."""
    app, clock = fait.App("wrong"), fait.ManualClock(START)
    app.include(Counted, Counter, Count)
    async with app.open("memory:", clock=clock) as s:
        for stream, number, tags in [("1", 1, []), ("1", 2, ["a:1"]), ("2", 2, []), ("3", 1, [])]:
            await s.publish(Counted(number), stream=f"counter-{stream}", tags=tags)
            clock.advance(hours=1)
        await s.settle()
        try:
            result = shown(await CALLS[name][0](s, **arguments))
        except fait.FaitError as error:
            return True, (type(error), str(error))
        log = [each async for each in s.events(after=4)]
        written = [(e.tags, e.occurred_at, msgspec.json.encode(e.metadata), e.id if e.id == ID else "") for e in log]
        return False, (result, written)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, each)
        for name, (_, arguments) in CALLS.items()
        for each in arguments
        if each not in LIMITS and (name, each) not in WITHOUT_EFFECT
    ],
)
async def test_argument_has_an_effect_or_is_refused_alone_and_with_each_other_one(name: str, argument: str) -> None:
    values = CALLS[name][1]
    others = [] if name in BOUNDED_BY_ANOTHER else [each for each in values if each != argument]
    for given in [{}, *({each: values[each]} for each in others)]:
        refused, with_argument = await observe(name, given | {argument: values[argument]})
        assert refused or (await observe(name, given))[1] != with_argument, f"{argument}= is ignored with {given}"


@pytest.mark.parametrize("first", ["load", "load_many", "query"])
async def test_expected_version_of_a_call_that_only_reads_is_refused(first: str) -> None:
    refused, (cls, message) = await observe(f"Client.using and {first}", {"expected": 3})

    assert (refused, cls) == (True, fait.UsageError)
    assert f"{first}(...) only reads" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "orders"}, "scope= is the scope of an idempotency key: pass key= with it"),
        ({"extra": {1: 2}}, "the names of extra= must be of type str, not 1"),
    ],
)
async def test_option_that_would_be_ignored_or_changed_is_refused_by_using(
    options: dict[str, Any], message: str
) -> None:
    _, (cls, shown_message) = await observe("Client.using and publish", options)

    assert cls is fait.UsageError
    assert message in shown_message


@pytest.mark.parametrize("wrong", ["no", "", 0, 1, None], ids=repr)
async def test_flag_that_is_no_bool_is_refused(wrong: Any) -> None:
    refused = [
        (await observe("App.open", {"create": wrong}))[0],
        (await observe("System.events", {"follow_on": wrong}))[0],
    ]
    with pytest.raises(fait.DeclarationError, match="kw_only= is True or False"):
        fait.event("declared", kw_only=wrong)(type("Declared", (), {}))

    assert refused == [True, True]


TESTED_ELSEWHERE = {
    "App": {"locks"},  # tests/evolution/test_locks_required.py
    "App.on": {"name", "start", "on_failure", "timeout_s", "batch", "concurrency", "order_key"},  # tests/subscriptions
    "App.consume": {
        "type",
        "as_",
        "trusts",
        "name",
        "on_failure",
        "timeout_s",
        "batch",
        "concurrency",
        "id_window_days",
        "verify",
        "start",
    },  # tests/inbox
    "App.outbox": {"schema"},  # tests/outbox
    "App.relay": {"key", "category", "name", "start", "as_version", "sign", "on_failure"},  # tests/relay
    "System.events": {"follow_on"},  # tests/test_app.py
    "System.wait": {"after"},  # tests/subscriptions/test_position_token.py
    "caused_by": {"correlation_id", "causation_id", "actor", "traceparent"},  # tests/test_app.py
}


def optional_arguments() -> dict[str, set[str]]:
    """Return the optional arguments of the public functions, methods and structs."""
    callables: dict[str, Any] = {}
    for name in fait.__all__:
        each = getattr(fait, name)
        if inspect.isfunction(each):
            callables[name] = each
        elif name in {"App", "System", "Client", "Context", "Outbox", "Query"}:
            methods = inspect.getmembers(each, inspect.isroutine)
            callables |= {f"{method.__qualname__}": method for key, method in methods if key == key.strip("_")}
        if name in {"App", "NewEvents", "Until", "Query", "FailurePolicy"}:
            callables[name] = each
    return {
        name: {key for key, each in inspect.signature(call).parameters.items() if each.default is not each.empty}
        for name, call in callables.items()
        if getattr(call, "__module__", "").startswith("fait")
    }


def test_calls_contain_each_optional_argument() -> None:
    listed = {name.partition(" and ")[0]: set(arguments) for name, (_, arguments) in CALLS.items()}
    missing = {name: arguments - listed.get(name, set()) for name, arguments in optional_arguments().items()}
    assert {name: each for name, each in missing.items() if each} == TESTED_ELSEWHERE
