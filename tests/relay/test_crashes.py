"""Processes of a relay are killed (-9) at each step: each message arrives once, in order."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fait
from fait._store.ports.failures import FailureRequest
from tests.relay.checker import problems
from tests.relay.conftest import server_under_test
from tests.relay.published import Noted, TestedBroker, append, recorded, relay_app

ROOT = Path(__file__).parents[2]
MIN_STEPS = 12
EVENTS = 30
STRIDE = 3
"""Of a redrive, every third step is tested: each takes three processes."""


@pytest.fixture(params=["kafka", "nats", "redis"])
async def server(request: pytest.FixtureRequest) -> TestedBroker:
    tested = server_under_test(request, request.param)
    await tested.prepare()
    return tested


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
    assert problems(events, arrived) == []


async def test_relay_that_is_killed_while_a_key_is_redriven_repeats_at_most_that_key(
    server: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url, step, redriven = store_url("sqlite"), 0, set[str]()
    async with relay_app(server.url).open(url, run="elsewhere") as system:
        while True:
            step += STRIDE
            key = f"big-{step}"
            async with server.limited():
                await system.append(fait.NewEvents(key, [Noted("a"), Noted("x" * server.limited_bytes), Noted("b")]))
                assert await run(url, server, 0) == 0
            await append(system, EVENTS, start=EVENTS * step)
            await system.publish(Noted("c"), stream=key)
            request = FailureRequest("relay-orders", (key,), "redriving", by="test")
            assert await system.store.failures.request(request) == 1
            redriven.add(key)
            killed = await run(url, server, step) != 0
            while await system.store.failures.failures():
                assert await run(url, server, 0) == 0
            if not killed:
                break
        events, arrived = await recorded(system), await server.arrived()

    print(step - 1, "steps")
    assert step > MIN_STEPS
    assert problems(events, arrived, repeats=True) == []
    others = [each for each in arrived if each.key not in redriven]
    assert problems([each for each in events if each.key not in redriven], others) == []


async def run(url: str, server: TestedBroker, step: int) -> int:
    """Run a process of the relay until it is killed at a step, or has published all; return its exit code."""
    command = [sys.executable, "-m", "tests.relay.stepping", url, server.url, str(step)]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode
