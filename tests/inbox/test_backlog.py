"""How many messages a consumer has not handled, as every process sees it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

import fait
from fait._delivery.brokers.memory.broker import MemoryConsumer
from fait._delivery.brokers.memory.server import server_of
from fait._delivery.inbox import source
from fait._store.ports.leases import Range, RegisteredWorker, Worker, backlog_of
from fait._store.ports.registrations import RangeKey
from fait._tools.cli.commands import fait as command_line
from fait.testing.contract.store import START
from tests.inbox.topics import Topic, new_topic, placed, until


@pytest.fixture(autouse=True)
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BACKLOG_INTERVAL_S", 0.05)


def hanging_app(topic: Topic, released: asyncio.Event) -> fait.App:
    app = fait.App("stock")

    @app.consume(topic.name, from_=topic.url, name="consumer")
    async def handle(event: Any) -> None:
        await released.wait()

    return app


async def status_until(url: str, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the first line of `fait status --json` that meets a condition."""
    async with asyncio.timeout(30):
        while True:
            answer = await asyncio.to_thread(CliRunner().invoke, command_line, ["status", "--json", "--store", url])
            status: dict[str, Any] = json.loads(answer.stdout)
            if wanted(status):
                return status


@pytest.mark.parametrize("backend", ["sqlite", "postgres 18"])
async def test_backlog_of_a_consumer_that_hangs_is_its_lag(backend: str, store_url: Callable[[str], str]) -> None:
    url, released = store_url(backend), asyncio.Event()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(*(placed(number, "a") for number in range(1, 6)))
        async with hanging_app(topic, released).open(url, lease_s=0.5) as s:
            first = await status_until(url, lambda each: each["lag"] == 5)
            await topic.publish(placed(6, "a"), placed(7, "b"))
            await status_until(url, lambda each: each["lag"] == 7)
            [own] = await s.status()
            released.set()
            last = await status_until(url, lambda each: each["lag"] == 0)
        closed = await status_until(url, lambda each: not each["owners"])

    assert (first["state"], first["lag_s"]) == ("catching up", None)
    assert own.lag == 7
    assert last["state"] == "live"
    assert (closed["state"], closed["lag"]) == ("no worker", None)


async def test_backlog_is_unknown_in_an_outage(store_url: Callable[[str], str]) -> None:
    url, released, name = store_url("sqlite"), asyncio.Event(), uuid4().hex
    async with new_topic(f"memory:{name}") as topic:
        await topic.publish(placed(1, "a"))
        async with hanging_app(topic, released).open(url, lease_s=0.5):
            await status_until(url, lambda each: each["lag"] == 1)
            server_of(name).frozen = True
            await status_until(url, lambda each: each["lag"] is None)
            released.set()
            await status_until(url, lambda each: each["state"] == "waiting" and each["lag"] is None)
            server_of(name).frozen = False


async def test_backlog_of_a_source_that_has_ended_is_not_told(store_url: Callable[[str], str]) -> None:
    url, released = store_url("sqlite"), asyncio.Event()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"))
        async with hanging_app(topic, released).open(url) as s:
            group = s._subscription_runner.groups["consumer"]
            await until(lambda: group.backlog == 1)
            [processor] = group._processors.values()
            assert processor.work is not None
            await processor.work.source.close()

            assert group.backlog is None
            released.set()


async def test_consumer_whose_adapter_fails_to_tell_the_backlog_receives_messages(
    store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, asked = list[int](), list[int]()

    async def fail(_: MemoryConsumer) -> int | None:
        asked.append(1)
        raise ValueError("a defect")

    monkeypatch.setattr(MemoryConsumer, "backlog", fail)
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        app = fait.App("stock")
        app.consume(topic.name, from_=topic.url, name="consumer")(lambda event: seen.append(1))
        async with app.open(store_url("sqlite")) as s:
            await until(lambda: len(asked) > 1)
            await topic.publish(placed(1, "a"))
            await until(lambda: seen)
            assert [(each.error, each.lag) for each in await s.status()] == [(None, None)]


def range_of(worker: str, low: int = 0) -> Range:
    return Range(RangeKey("consumer", 1, low), 0, worker, 1, 1)


def registered(id: str, backlogs: dict[str, int]) -> RegisteredWorker:
    return RegisteredWorker(Worker(id, backlogs=backlogs), 1, START)


@pytest.mark.parametrize(
    ("owners", "backlog"),
    [(["a"], 2), (["a", "a", "b"], 5), (["a", ""], None), (["a", "gone"], None), (["a", "silent"], None), ([], None)],
)
def test_backlog_is_the_sum_over_the_workers_if_each_tells(owners: list[str], backlog: int | None) -> None:
    workers = [registered("a", {"consumer": 2}), registered("b", {"consumer": 3}), registered("silent", {"other": 7})]

    assert backlog_of("consumer", [range_of(each, low) for low, each in enumerate(owners)], workers) == backlog
