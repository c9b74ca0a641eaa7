"""Stored events of older and newer forms, and what they are read as: for the tests of all readers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import fait
from fait._events.append import StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._system import System


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


async def store(s: System, type: str, schema_version: int, data: str) -> None:
    event = EncodedEvent(type, schema_version, fait.new_id(), data, '{"actor":"tester"}', ("kind:test",))
    await s.store.log.append([StreamWrite("order-1", (event,), ANY)])


class Order(fait.Aggregate, category="order", snapshot_every=2):
    customers: list[str] = fait.field(default_factory=list[str])

    def add(self, customer: str) -> int:
        self.emit(Placed(customer))
        return len(self.customers)

    def evolve(self, event: Placed) -> None:
        self.customers.append(event.customer)


class Customers(fait.ReadModel, key="id"):
    id: str
    names: str

    @classmethod
    def evolve(cls, row: Self | None, event: Placed, envelope: fait.Envelope) -> Self | None:
        return cls(id=envelope.stream_id, names=f"{row.names if row else ''}{event.customer} ")


def shop_with(*included: Any) -> fait.App:
    """Return an app with the stored forms and what a test adds."""
    app = fait.App("shop")
    app.include(Placed, Priced, *UPCASTERS, *included)
    return app


@asynccontextmanager
async def opened(url: str, *included: Any) -> AsyncIterator[System]:
    """Open such an app, without subscriptions."""
    async with shop_with(*included).open(url, run="elsewhere") as s:
        yield s


async def store_split(s: System) -> None:
    await store(s, *STORED["split"][:3])


async def finish(s: System, customer: str = "end") -> fait.WriteResult[None]:
    """Append an event, and wait until all subscriptions have handled it."""
    end = await s.publish(Placed(customer), stream="order-1")
    await s.wait(end, timeout_s=30)
    return end


@fait.event("evolution.sent", version=2)
class Sent:
    text: str


@fait.event("evolution.delivered", version=2, was=("evolution.sent",))
class Delivered:
    text: str


@fait.event("evolution.delivered", version=3, was=("evolution.sent",))
class DeliveredLater:
    text: str
    at: str = "door"


def app_of(event: Any, *upcasters: Any) -> fait.App:
    app = fait.App("post")
    app.include(event, *upcasters)
    return app
