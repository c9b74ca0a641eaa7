"""Stored events of older and newer forms: every reader sees the current events that they are read as.

`READERS` has a reader for each function of `src/fait` that decodes recorded events. A test fails if there is another.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

import fait
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.relay.routing import Routing
from fait._system import System
from tests.events.stored_forms import STORED, UPCASTERS, Placed, Priced, store

SRC = Path(fait.__file__).parent


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


async def routed(s: System, shop: Shop) -> list[str]:
    """Return what the function key= of a relay gets."""
    seen, codec = list[str](), s._declarations.codec

    def key(event: Placed) -> str:
        seen.append(event.customer)
        return "key"

    handled = codec.registry.handled_types([Placed])
    routing = Routing(RelayDefinition("r", (Placed,), "memory:x", "orders", key, None, "beginning"), codec, handled)
    for each in (await s.store.log.read_stream("order-1"))[0]:
        if each.type in handled.query.types:
            routing.key_of(each)
    return seen


READERS: Mapping[str, Reader] = {
    "relay": routed,
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
    "_delivery/relay/routing.py": "relay",
    "_system.py": "events",
    "_http/feed.py": "sends what events returns; tests/http",
    "testing/in_memory.py": "returns what events returns; tests/testing",
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


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres 16", "postgres 18"])
async def test_every_reader_sees_all_forms_in_one_stream(backend: str, store_url: Callable[[str], str]) -> None:
    shop = Shop()
    async with shop.app.open(store_url(backend)) as s:
        for name, schema_version, data, _ in STORED.values():
            await store(s, name, schema_version, data)
        end = await s.publish(Placed("end"), stream="order-1", tags=["kind:test"])
        await s.wait(end, timeout_s=30)

        seen = {name: await reader(s, shop) for name, reader in READERS.items()}

    expected = [customer for *_, customers in STORED.values() for customer in customers]
    expected[expected.index("order-1 v1 tester")] = f"order-1 v{[*STORED].index('envelope') + 1} tester"
    assert seen == {name: [*expected, "end"] for name in READERS}


def test_every_module_that_decodes_events_is_read_in_this_test() -> None:
    sources = {str(path.relative_to(SRC)): path.read_text("utf-8") for path in SRC.rglob("*.py")}
    decoding = {name for name, text in sources.items() if DECODES.search(text) and not name.startswith("_events/")}

    assert decoding == DECODING_MODULES.keys()
