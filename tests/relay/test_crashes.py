"""Processes of a relay are killed (-9) at each step: each message arrives once, in order."""

import asyncio
from collections.abc import Callable

import pytest

import fait
from fait._store.ports.failures import FailureRequest
from tests.relay.checker import problems
from tests.relay.conftest import prepared
from tests.relay.published import Noted, TestedBroker, append, recorded, relay_app
from tests.relay.stepping import run_relay

MIN_STEPS = 12
MAX_STEPS = 60
EVENTS = 30
STRIDE = 3
"""Of a redrive, every third step is tested: each takes two processes."""


@pytest.fixture(params=["kafka", "nats", "redis", "rabbitmq", "rabbitmq-stream"])
async def server(request: pytest.FixtureRequest) -> TestedBroker:
    return await prepared(request)


async def test_relay_that_is_killed_at_each_step_publishes_each_event_once(
    server: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url, step = store_url("sqlite"), 0
    async with relay_app(server.url).open(url, run="elsewhere") as system:
        while True:
            step += 1
            await append(system, EVENTS, start=EVENTS * step)
            if await run(url, server, step) == 0:
                break
        events, arrived = await recorded(system), await server.arrived()

    print(step - 1, "steps")
    assert step > MIN_STEPS
    assert problems(events, arrived, repeats=server.repeats) == []


async def test_relay_that_is_killed_while_a_key_is_redriven_repeats_at_most_that_key(
    server: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url, steps = store_url("sqlite"), range(STRIDE, MAX_STEPS, STRIDE)
    redriven = {f"big-{step}" for step in steps}
    async with relay_app(server.url).open(url, run="elsewhere") as system:
        async with server.limited():
            for key in redriven:
                await system.append(fait.NewEvents(key, [Noted("a"), Noted("x" * server.limited_bytes), Noted("b")]))
            assert await run(url, server, 0) == 0
        for step in steps:
            key = f"big-{step}"
            await append(system, EVENTS, start=EVENTS * step)
            await system.publish(Noted("c"), stream=key)
            request = FailureRequest("relay-orders", (key,), "redriving", by="test")
            assert await system.store.failures.request(request) == 1
            killed = await run(url, server, step) != 0
            while key in {each.key for each in await system.store.failures.failures()}:
                assert await run(url, server, 0) == 0
            if not killed:
                break
        parked = {each.key for each in await system.store.failures.failures()}
        events = [each for each in await recorded(system) if each.key not in parked]
        arrived = [each for each in await server.arrived() if each.key not in parked]

    print(step - 1, "steps")
    assert MIN_STEPS < step < steps[-1]
    assert problems(events, arrived, repeats=True) == []
    others = [each for each in arrived if each.key not in redriven]
    assert problems([each for each in events if each.key not in redriven], others, repeats=server.repeats) == []


async def run(url: str, server: TestedBroker, step: int) -> int:
    """Run a process of the relay until it is killed at a step, or has published all; return its exit code."""
    code = await asyncio.to_thread(run_relay, url, server.url, step)
    assert code in (0, -9)
    return code
