"""Stored events of older and newer forms: every reader sees the current events that they are read as.

`READERS` has a reader for each function of `src/fait` that decodes recorded events. A test fails if there is another.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

import fait
from fait._events.append import StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._system import System

SRC = Path(fait.__file__).parent


@fait.event("evolution.placed", version=3, was=("evolution.created", "evolution.made"))
class Placed:
    customer: str
    currency: str = "EUR"


@fait.event("evolution.priced")
class Priced:
    amount: int


to_customer = fait.upcast("evolution.placed", 1, fait.renamed("customer_name", "customer"))


@fait.upcast("evolution.listed", 1, into=("evolution.placed", "evolution.priced", "evolution.listed"))
def to_parts(data: dict[str, Any]) -> list[fait.Untyped]:
    names = [fait.Untyped("evolution.placed", {"customer_name": name}, 1) for name in data["names"]]
    return [*names[:1], fait.Untyped("evolution.priced", {"amount": 7}), *names[1:]]


@fait.upcast("evolution.listed", 2, to=("evolution.placed", 2))
def from_stream(data: dict[str, Any], envelope: fait.Envelope[fait.Untyped]) -> dict[str, Any]:
    assert envelope.event.data == data
    assert envelope.recorded_at is not None
    return {"customer": f"{envelope.stream} v{envelope.version} {envelope.metadata.actor}"}


without_noise = fait.drop_event("evolution.noise", 1)
to_version_3 = fait.downcast("evolution.placed", 4, fait.renamed("buyer", "customer"), fait.dropped("gift"))
UPCASTERS = (to_customer, to_parts, from_stream, without_noise, to_version_3)

STORED: Mapping[str, tuple[str, int, str, list[str]]] = {
    "current": ("evolution.placed", 3, '{"customer":"ada"}', ["ada"]),
    "upcast": ("evolution.placed", 1, '{"customer_name":"ada"}', ["ada"]),
    "version without upcaster": ("evolution.placed", 2, '{"customer":"ada"}', ["ada"]),
    "former name": ("evolution.created", 3, '{"customer":"ada"}', ["ada"]),
    "older version of the first name": ("evolution.made", 1, '{"customer_name":"ada"}', ["ada"]),
    "split": ("evolution.listed", 1, '{"names":["ada","bob","eve"]}', ["ada", "bob", "eve"]),
    "split without a handled result": ("evolution.listed", 1, '{"names":[]}', []),
    "dropped": ("evolution.noise", 1, '{"load":1}', []),
    "envelope": ("evolution.listed", 2, "{}", ["order-1 v1 tester"]),
    "newer version": ("evolution.placed", 4, '{"buyer":"ada","gift":true}', ["ada"]),
    "unknown key": ("evolution.placed", 3, '{"customer":"ada","flavor":"red"}', ["ada"]),
    "unhandled type": ("evolution.priced", 1, '{"amount":1}', []),
}


class Order(fait.Aggregate, category="order"):
    customers: list[str] = fait.field(default_factory=list[str])

    def look(self) -> list[str]:
        return self.customers

    def evolve(self, event: Placed) -> None:
        self.customers.append(event.customer)


class Remembered(fait.Aggregate, category="order", snapshot_every=1):
    customers: list[str] = fait.field(default_factory=list[str])

    def evolve(self, event: Placed) -> None:
        self.customers.append(event.customer)


class Customers(fait.ReadModel, key="id"):
    id: str
    names: str

    @classmethod
    def evolve(cls, row: Self | None, event: Placed, envelope: fait.Envelope) -> Self | None:
        return cls(id=envelope.stream_id, names=f"{row.names if row else ''}{event.customer}|")


class Letters(fait.ReadModel, key="initial"):
    initial: str
    names: str

    @classmethod
    def key_of(cls, event: Placed, envelope: fait.Envelope) -> str:
        return "all"

    @classmethod
    def evolve(cls, row: Self | None, event: Placed, envelope: fait.Envelope) -> Self | None:
        return cls(initial="all", names=f"{row.names if row else ''}{event.customer}|")


def evolve(state: list[str], event: Placed) -> list[str]:
    return [*state, event.customer]


def decide_nothing(command: str, state: list[str]) -> list[Placed]:
    return []


decider = fait.Decider(category="order", initial=list[str], decide=decide_nothing, evolve=evolve)


class Shop:
    """An app with all kinds of readers, and what its handlers have seen."""

    def __init__(self) -> None:
        self.app = fait.App("shop")
        self.app.include(Order, Customers, Letters, Priced, *UPCASTERS)
        self.handled: list[str] = []
        self.batched: list[str] = []
        self.loaded: list[str] = []
        self.app.on(Placed, start="beginning")(self.on_placed)
        self.app.on(Placed, start="beginning", batch=10)(self.on_batch)
        self.app.on(Placed, start="beginning")(self.on_load)

    def on_placed(self, event: Placed) -> None:
        self.handled.append(event.customer)

    def on_batch(self, event: Placed) -> None:
        self.batched.append(event.customer)

    async def on_load(self, event: Placed, ctx: fait.Context) -> None:
        self.loaded = (await ctx.load(Order, "1")).customers


Reader = Callable[[System, Shop], Awaitable[list[str]]]


async def boundary(s: System, query: fait.Query) -> list[str]:
    seen: list[str] = []

    def decide(command: str, state: list[str]) -> list[fait.NewEvents]:
        seen.extend(state)
        return []

    look = fait.Boundary(name="look", depends_on=lambda _: query, initial=list[str], decide=decide, evolve=evolve)
    await s.decide(look, "look")
    return seen


async def after_snapshot(s: System, shop: Shop) -> list[str]:
    await s.load(Remembered, "1")
    return (await s.load(Remembered, "1")).customers


def customers_in(events: Any) -> list[str]:
    return [each.event.customer for each in events if isinstance(each.event, Placed)]


async def result_of(value: Any) -> Any:
    return value


def names_in(row: Any) -> list[str]:
    return row.names.split("|")[:-1]


READERS: Mapping[str, Reader] = {
    "load": lambda s, shop: attribute(s.load(Order, "1")),
    "load of a decider": lambda s, shop: s.load(decider, "1"),
    "load after a snapshot": after_snapshot,
    "load_many": lambda s, shop: many(s),
    "transact": lambda s, shop: value_of(s.transact(Order.look, "1")),
    "boundary": lambda s, shop: boundary(s, fait.Query(tags=("kind:test",))),
    "boundary with types": lambda s, shop: boundary(s, fait.Query.of(Placed)),
    "query": lambda s, shop: query(s, fait.Query.of(Placed)),
    "query of a former name": lambda s, shop: query(s, fait.Query(types=("evolution.created",))),
    "query of everything": lambda s, shop: query(s, fait.Query()),
    "events": lambda s, shop: events_of(s.events(query=fait.Query.of(Placed))),
    "events of the log": lambda s, shop: events_of(s.events()),
    "read": lambda s, shop: read(s),
    "read model": lambda s, shop: row_of(s, Customers, "1"),
    "read model with key_of": lambda s, shop: row_of(s, Letters, "all"),
    "handler": lambda s, shop: result_of(shop.handled),
    "handler of batches": lambda s, shop: result_of(shop.batched),
    "load in a handler": lambda s, shop: result_of(shop.loaded),
}

DECODING_MODULES = {
    "_decisions/boundary.py": "boundary",
    "_decisions/client.py": "query",
    "_decisions/load.py": "load",
    "_decisions/aggregate.py": "copies emitted events; reads no recorded ones",
    "_subscriptions/projection.py": "read model",
    "_subscriptions/reactor.py": "handler",
    "_system.py": "events",
}
DECODES = re.compile(r"\b(decode_all|decode_selected|decode_recorded|decoder_for|untyped_decoder|copy_event)\b")


async def attribute(loading: Awaitable[Order]) -> list[str]:
    return (await loading).customers


async def value_of(writing: Awaitable[Any]) -> list[str]:
    return (await writing).value


async def many(s: System) -> list[str]:
    return (await s.load_many(Order, ["1"]))["1"].customers


async def query(s: System, *queries: fait.Query) -> list[str]:
    return customers_in((await s.query(*queries)).events)


async def events_of(events: AsyncIterator[Any]) -> list[str]:
    return customers_in([each async for each in events])


async def read(s: System) -> list[str]:
    return customers_in(await s.read("order-1"))


async def row_of(s: System, model: type[Any], key: str) -> list[str]:
    rows = await s.find(model)
    return names_in(next(iter(rows)))


async def store(s: System, type: str, schema_version: int, data: str) -> None:
    event = EncodedEvent(type, schema_version, fait.new_id(), data, '{"actor":"tester"}', ("kind:test",))
    await s.store.log.append([StreamWrite("order-1", (event,), ANY)])


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/shop.db"


@pytest.mark.parametrize("stored", STORED)
async def test_every_reader_sees_the_current_events_that_a_stored_event_is_read_as(stored: str, url: str) -> None:
    name, schema_version, data, expected = STORED[stored]
    shop = Shop()
    async with shop.app.open(url) as s:
        await store(s, name, schema_version, data)
        end = await s.publish(Placed("end"), stream="order-1", tags=["kind:test"])
        await s.wait(end, timeout_s=30)

        seen = {name: await reader(s, shop) for name, reader in READERS.items()}

    assert seen == {name: [*expected, "end"] for name in READERS}


def test_every_module_that_decodes_events_is_read_in_this_test() -> None:
    sources = {str(path.relative_to(SRC)): path.read_text("utf-8") for path in SRC.rglob("*.py")}
    decoding = {name for name, text in sources.items() if DECODES.search(text) and not name.startswith("_events/")}

    assert decoding == DECODING_MODULES.keys()


# Queries and append conditions


@pytest.mark.parametrize("stored", ["former name", "split", "envelope", "older version of the first name"])
async def test_append_condition_fails_for_an_event_stored_under_another_name(stored: str, url: str) -> None:
    async with Shop().app.open(url, run="elsewhere") as s:
        before = await s.query(fait.Query.of(Placed))
        await store(s, *STORED[stored][:3])

        with pytest.raises(fait.AppendConditionFailed):
            await s.append(fait.NewEvents("order-2", [Placed("bob")]), only_if=before)


async def test_query_for_one_result_of_a_split_leaves_the_others_out(url: str) -> None:
    async with Shop().app.open(url, run="elsewhere") as s:
        await store(s, *STORED["split"][:3])

        priced = (await s.query(fait.Query.of(Priced))).events
        stored = (await s.query(fait.Query(types=("evolution.listed",)))).events

    assert [each.event for each in priced] == [Priced(7)]
    assert len(stored) == 4


async def test_results_of_a_split_share_the_place_and_have_numbered_ids(url: str) -> None:
    async with Shop().app.open(url, run="elsewhere") as s:
        await store(s, *STORED["split"][:3])
        await store(s, *STORED["dropped"][:3])

        envelopes = await s.read("order-1")
        recorded, dropped = (await s.store.log.read_stream("order-1"))[0]

    assert [(each.id, each.position, each.version) for each in envelopes] == [
        (f"{recorded.id}/{number}", recorded.position, 1) for number in range(4)
    ]
    assert [each.type for each in envelopes] == ["evolution.placed", "evolution.priced", *["evolution.placed"] * 2]
    assert dropped.type == "evolution.noise"


async def test_version_of_a_stream_counts_stored_events(url: str) -> None:
    async with Shop().app.open(url, run="elsewhere") as s:
        await store(s, *STORED["split"][:3])
        await store(s, *STORED["dropped"][:3])
        result = await s.using(expected=2).publish(Placed("bob"), stream="order-1")

    assert result.version == 3


# Handlers


@pytest.mark.parametrize("stored", ["dropped", "split without a handled result"])
async def test_handler_passes_an_event_without_a_handled_result(stored: str, url: str) -> None:
    shop = Shop()
    async with shop.app.open(url) as s:
        await store(s, *STORED[stored][:3])
        await s.wait(await s.publish(Placed("bob"), stream="order-1"), timeout_s=5)

    assert shop.handled == ["bob"]


async def test_results_of_a_split_are_recorded_as_a_whole(url: str) -> None:
    app, calls = fait.App("shop"), list[tuple[str, int]]()
    app.include(Placed, Priced, *UPCASTERS)

    @app.on(Placed, start="beginning", on_failure=fait.FailurePolicy(initial_s=0.001), batch=10)
    async def answer(event: Placed, ctx: fait.Context) -> None:
        calls.append((event.customer, ctx.attempt))
        await ctx.publish(Priced(len(calls)), stream="answers-1")
        if event.customer == "bob" and ctx.attempt == 1:
            raise ValueError

    async with app.open(url) as s:
        await store(s, *STORED["split"][:3])
        await s.wait(await s.publish(Placed("end"), stream="order-1"), timeout_s=30)
        answers = [each.event.amount for each in await s.read("answers-1")]

    split = [("ada", 2), ("bob", 2), ("eve", 2)]
    assert [each for each in calls if each[0] != "end"] == [("ada", 1), ("bob", 1), *split]
    assert answers == [calls.index(each) + 1 for each in [*split, calls[-1]]]


@pytest.mark.parametrize(("too_new", "expected"), [("wait", []), ("skip", ["end"])])
async def test_handler_waits_at_an_event_of_newer_code_or_skips_it(too_new: Any, expected: list[str], url: str) -> None:
    app, seen = fait.App("shop"), list[str]()
    app.include(Placed, Priced, *UPCASTERS)
    policy = fait.FailurePolicy(initial_s=0.001, too_new=too_new)
    app.on(Placed, name="collect", start="beginning", on_failure=policy)(lambda each: seen.append(each.customer))
    async with app.open(url) as s:
        await store(s, "evolution.placed", 5, '{"customer":"ada"}')
        end = await s.publish(Placed("end"), stream="order-1")
        with contextlib.suppress(fait.Stale):
            await s.wait(end, timeout_s=5 if expected else 0.3)

    assert seen == expected


async def test_renamed_event_continues_subscriptions_and_read_models(tmp_path: Path) -> None:
    url, seen = f"sqlite:///{tmp_path}/shop.db", list[str]()

    def app_with(event: Any) -> tuple[fait.App, Any]:
        class Counts(fait.ReadModel, key="id"):
            id: str
            count: int

            @classmethod
            def evolve(cls, row: Self | None, event: event, envelope: fait.Envelope) -> Self | None:  # type: ignore[valid-type]
                return cls(id=envelope.stream_id, count=(row.count if row else 0) + 1)

        app = fait.App("shop")
        app.include(Counts)
        app.on(event, name="collect")(lambda each: seen.append(each.name))
        return app, Counts

    @fait.event("evolution.old")
    class Old:
        name: str

    @fait.event("evolution.new", was=("evolution.old",))
    class New:
        name: str

    before, _ = app_with(Old)
    async with before.open(url) as s:
        await s.wait(await s.publish(Old("one"), stream="x-1"), timeout_s=30)
        await s.publish(Old("two"), stream="x-1")
    after, counts = app_with(New)
    with pytest.raises(fait.ReadModelChanged):
        async with after.open(url):
            pass
    async with after.open(url, accept=["counts"]) as s:
        await s.wait(await s.publish(New("three"), stream="x-1"), timeout_s=30)
        rows = [each.count for each in await s.find(counts)]

    assert seen == ["one", "two", "three"]
    assert rows == [3]


# Keys that the class does not have


async def test_unknown_key_is_reported_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    @fait.event("evolution.reported-" + url[:3], version=2)
    class Reported:
        name: str

    app = fait.App("shop")
    app.include(Reported)
    async with app.open(url, run="elsewhere") as s:
        for _ in range(3):
            await store(s, "evolution.reported-" + url[:3], 2, '{"name":"ada","nick":"a","age":3}')
            await store(s, "evolution.reported-" + url[:3], 1, '{"name":"ada","vanished":1}')
        events = [each.event for each in await s.read("order-1")]

    assert events == [Reported("ada")] * 6
    assert sorted(re.findall(r" key=(\w+)", caplog.text)) == ["age", "nick", "vanished"]
    assert "fait.renamed('nick', ...)" in caplog.text
