"""Functions of an app that fail now and then: what a relay publishes is still complete and in order."""

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import fait
from fait._app import declarations_of
from fait._delivery.relay.relay import Relay
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import RangeKey
from tests.relay.checker import problems
from tests.relay.published import TOPIC, TestedBroker, append, recorded, relay_app, until

ENDLESS = fait.FailurePolicy(initial_s=0.001, max_s=0.002, attempts=None)


class Functions:
    """The functions `topic=` and `key=` of a relay, which fail at random."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def topic(self, event: Any) -> str:
        if self._random.random() < 0.05:
            raise ValueError("no topic")
        return TOPIC

    def key(self, event: Any) -> str:
        if self._random.random() < 0.003:
            raise ValueError("no key")
        return key_of(event)


def key_of(event: Any) -> str:
    return f"key-{event.number % 17}"


@pytest.mark.parametrize("has_key", [False, True])
async def test_relay_whose_functions_fail_at_random_publishes_each_event_in_order(
    any_broker: TestedBroker, store_url: Callable[[str], str], has_key: bool
) -> None:
    url, functions = store_url("sqlite"), Functions()
    app = relay_app(
        any_broker.url, topic=functions.topic, key=functions.key if has_key else None, on_failure=ENDLESS
    )  # fmt: skip
    async with app.open(url, lease_s=0.4) as first:
        await append(first, 100, keys=40)
        async with app.open(url, lease_s=0.4) as second:
            appending = asyncio.create_task(append(second, 600, keys=40, start=100))
            await until(lambda: _are_shared(first))
            await appending
            await append(first, 100, keys=40, start=700)
            await first.wait(timeout_s=30)
        await append(first, 100, keys=40, start=800)
        await first.wait(timeout_s=30)
        key = (lambda each: key_of(each.event)) if has_key else (lambda each: each.stream)

        # A message that is tried again is repeated if it was not recorded, on each broker.
        assert problems(await recorded(first, key), await any_broker.arrived(), repeats=True) == []
        assert await first.store.failures.failures() == []


@pytest.mark.parametrize("is_concerned", [True, False])
async def test_event_whose_key_is_found_at_last_is_published_by_the_range_of_the_key(
    memory_broker: TestedBroker, is_concerned: bool
) -> None:
    declared = declarations_of(relay_app(memory_broker.url, key=lambda event: "own"))
    async with relay_app(memory_broker.url).open("memory:", run="elsewhere") as system:
        await append(system, 1)
        tenure = SimpleNamespace(
            lease=Lease(RangeKey("relay-orders"), "me", 1, 0, 1, ()), frontier=0, floor=0, on_end=lambda close: None
        )
        context: Any = SimpleNamespace(failed_key=None, tenure=tenure, is_concerned=lambda key: is_concerned)
        relay = Relay(declared.relays["relay-orders"], declared.codec, system.store)

        outcome = await relay.handle((await system.store.log.read(0)).events, context)

    assert outcome.finished == 1
    assert len(await memory_broker.arrived()) == is_concerned


async def _are_shared(system: fait.System) -> bool:
    """Whether two workers have ranges."""
    return len({each.worker for each in await system.store.leases.ranges() if each.worker}) == 2
