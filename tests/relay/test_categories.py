"""The category of a relay is part of its definition: during a deploy that changes it, old code passes over no event."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

import fait
from tests.relay.published import Counted, MemoryUnderTest, Noted


@pytest.fixture
async def broker() -> MemoryUnderTest:
    broker = MemoryUnderTest(f"memory:{uuid4().hex}")
    await broker.prepare(topics=("orders",))
    return broker


def relay_of(broker: MemoryUnderTest, category: str | None) -> fait.App:
    app = fait.App("shop")
    app.include(Noted)
    app.relay(Counted, to=broker.url, topic="orders", category=category, start="beginning")
    return app


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("order", None, "category (none, was order)"),
        ("order", "cart", "category (cart, was order)"),
        (None, "order", "category (order, was none)"),
    ],
)
async def test_other_category_of_a_relay_is_refused_until_it_is_accepted(
    broker: MemoryUnderTest, store_url: Callable[[str], str], old: str | None, new: str | None, difference: str
) -> None:
    url = store_url("sqlite")
    async with relay_of(broker, old).open(url):
        pass
    with pytest.raises(fait.DefinitionChanged) as refused:
        async with relay_of(broker, new).open(url):
            pass
    async with relay_of(broker, new).open(url, accept=["relay-orders"]):
        pass

    assert refused.value.differences == (difference,)
    assert str(refused.value) == (
        f"the definition of relay 'relay-orders' changed since it was registered: {difference}. Nothing was changed. "
        "To continue with the definition of this code, so that workers with another one no longer run it: fait "
        "definition accept relay-orders --app module:app --store URL, or open(url, accept=['relay-orders']). If the "
        "order key differs, handle or discard the keys that have failed before, with the former code: see fait parked "
        "list relay-orders --store URL."
    )


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_worker_with_a_former_category_passes_over_no_event_after_the_new_one_is_accepted(
    broker: MemoryUnderTest, store_url: Callable[[str], str], backend: str
) -> None:
    url = store_url(backend)
    async with relay_of(broker, "order").open(url, lease_s=0.4) as former:
        await former.publish(Counted(1), stream="order-1")
        await former.wait()
        async with relay_of(broker, None).open(url, run="elsewhere", accept=["relay-orders"]) as web:
            await web.publish(Counted(2), stream="cart-1")
            await web.publish(Counted(3), stream="order-1")
            async with asyncio.timeout(30):
                while not isinstance((await former.status())[0].error, fait.DefinitionChanged):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
    assert [each.key for each in await broker.arrived()] == ["order-1"]
    async with relay_of(broker, None).open(url) as latter:
        await latter.wait()

    assert sorted(each.key for each in await broker.arrived()) == ["cart-1", "order-1", "order-1"]


@pytest.mark.parametrize(("key", "expected"), [(None, ""), (str, "order_key=own")])
async def test_relay_without_a_category_keeps_its_definition_hash(
    broker: MemoryUnderTest, key: Any, expected: str
) -> None:
    app = fait.App("shop")
    app.relay(Counted, to=broker.url, topic="orders", key=key)
    async with app.open("memory:") as system:
        registration = await system.store.registrations.registration("relay-orders")

    assert registration is not None
    assert registration.definition_hash == expected
