"""A call that hangs is seen before its timeout, also that of a consumer. Ranges of each worker."""

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from uuid import uuid4

import pytest

import fait
from fait._clock import ManualClock, SystemClock
from fait._store.open import open_store
from fait._store.ports.registrations import SLOTS
from fait._tools.cli.status import _count_ranges
from fait.testing.contract.leases import acquired
from tests.inbox.topics import new_topic, placed
from tests.tools.parked_shop import Paid

Run = Callable[..., Any]
OWNER = f"{socket.gethostname()}:{os.getpid()}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


class Hanging:
    """An app with a handler that hangs until it is released."""

    def __init__(self) -> None:
        self.called, self.released = asyncio.Event(), asyncio.Event()
        self.app = fait.App("shop")

    async def handle(self, event: Any) -> None:
        self.called.set()
        await self.released.wait()


async def reacting(hanging: Hanging, url: str, clock: ManualClock) -> AsyncIterator[None]:
    hanging.app.on(Paid, name="invoice")(hanging.handle)
    async with hanging.app.open(url, clock=clock) as s:
        await s.publish(Paid(1), stream="order-a")
        yield


async def consuming(hanging: Hanging, url: str, clock: ManualClock) -> AsyncIterator[None]:
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        hanging.app.consume(topic.name, from_=topic.url, name="invoice")(hanging.handle)
        async with hanging.app.open(url, clock=clock):
            await topic.publish(placed(1, "a"))
            yield


@pytest.mark.parametrize("kind", [reacting, consuming], ids=["reactor", "consumer"])
async def test_hung_call_of_a_handler_is_named_before_its_timeout(run: Run, url: str, kind: Any) -> None:
    hanging, clock = Hanging(), ManualClock(SystemClock().now())
    async for _ in kind(hanging, url, clock):
        await asyncio.wait_for(hanging.called.wait(), 30)
        clock.advance(seconds=3)
        assert (await status_until(run, url, lambda each: each["call_s"]))["call"] is None
        clock.advance(seconds=32)
        status = await status_until(run, url, lambda each: each["call_s"] and each["call_s"] > 30)
        table = await asyncio.to_thread(run, "status", "-s", url)
        checks = json.loads((await asyncio.to_thread(run, "doctor", "-s", url, "--json")).stdout)["checks"]
        hanging.released.set()
        ended = await status_until(run, url, lambda each: not each["call_s"])

    called = rf"a call of its handler runs for \d\d s in {OWNER}"
    assert re.fullmatch(called, status["call"])
    assert re.search(f"^invoice: {called}$", table.stderr, re.MULTILINE)
    [problem] = [each for each in checks if each["status"] == "problem" and "invoice" in each["name"]]
    assert problem["name"] == "calls of invoice"
    assert re.fullmatch(called, problem["detail"])
    assert "it hangs or is slow" in problem["advice"]
    assert ended["call"] is None


async def status_until(run: Run, url: str, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            result = await asyncio.to_thread(run, "status", "-s", url, "--json")
            status = json.loads(result.stdout)
            if wanted(status):
                return cast("dict[str, Any]", status)


async def split_range(url: str) -> None:
    store = await open_store(url)
    assert await store.leases.split(await acquired(store, "invoice"), 100)
    await store.close()


def test_ranges_are_shown_with_slots_owners_and_positions(run: Run, url: str) -> None:
    asyncio.run(split_range(url))

    status = json.loads(run("status", "-s", url, "--json").stdout)
    table = run("status", "-s", url).stdout.splitlines()

    assert [(each["low"], each["high"]) for each in status["ranges"]] == [(0, 100), (100, SLOTS)]
    assert status["ranges"][1] == {
        "low": 100, "high": SLOTS, "position": 0, "frontier": 0, "owner": "me", "worker": "me", "heartbeat": 1,
        "silent_s": 0.0,
    }  # fmt: skip
    assert [line.split("\t")[3] for line in table] == ["ranges", "2"]


@pytest.mark.parametrize(
    ("workers", "owners", "shown"),
    [
        ([None], [], "1"),
        (["a", "a"], ["x"], "2"),
        (["b", "a", "b"], ["x", "y"], "3 (1 + 2)"),
        (["a", None, "b"], ["x", "y"], "3 (1 + 1, 1 free)"),
        (["a", None], ["x"], "2 (1, 1 free)"),
    ],
)
def test_number_of_ranges_shows_how_they_are_spread(workers: list[str | None], owners: list[str], shown: str) -> None:
    assert _count_ranges({"ranges": [{"worker": each} for each in workers], "owners": owners}) == shown
