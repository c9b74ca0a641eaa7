"""What operators see of a consumer, and what they can do about messages that failed."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

import fait
from fait._delivery.inbox import source
from fait._store import health, overview
from fait._store.ports.inbox import MAX_POSITION_JUMP
from fait._tools.cli.commands import fait as command_line
from tests.inbox.topics import SHORT_RETRY, Placed, Topic, eventually, idle, new_topic, placed, until
from tests.servers.nats import NatsServer


async def run(url: str, *arguments: str) -> str:
    """Run a command; returns what it has printed."""
    answer = await asyncio.to_thread(CliRunner().invoke, command_line, [*arguments, "--store", url])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.stdout


def failing_app(topic: Topic, seen: list[int], failing: set[int]) -> fait.App:
    app = fait.App("stock")

    @app.consume(topic.name, from_=topic.url, as_=Placed, trusts=["log-1"], on_failure=SHORT_RETRY, name="consumer")
    async def handle(event: Placed) -> None:
        if event.number in failing:
            raise ValueError("out of stock")
        seen.append(event.number)

    return app


@pytest.mark.parametrize("backend", ["sqlite", "postgres 18"])
async def test_parked_messages_are_shown_and_redriven_by_commands(backend: str, store_url: Any) -> None:
    url, seen, failing = store_url(backend), list[int](), {1}
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"), placed(2, "a"), placed(3, "b"))
        async with failing_app(topic, seen, failing).open(url, lease_s=0.5) as s:
            await idle(s, 3)
            await eventually(lambda: has_lag(url, 0))

            status = json.loads(await run(url, "status", "--json"))
            assert (status["kind"], status["parked"], status["lag"], status["position"]) == ("consumer", 1, 0, 3)
            assert "consumer" in await run(url, "parked", "list")
            shown = json.loads(await run(url, "parked", "show", "consumer", "a", "--json"))
            assert (shown["event_type"], shown["error_type"]) == ("orders.placed", "builtins.ValueError")
            findings = json.loads(await run(url, "doctor", "--json"))["checks"]
            assert "parked keys of consumer" in [each["name"] for each in findings if each["status"] == "problem"]
            assert "subscription consumer" in [each["name"] for each in findings if each["status"] == "ok"]

            failing.clear()
            await run(url, "parked", "redrive", "consumer", "--all", "--yes")
            await until(lambda: len(seen) == 3)
            await idle(s, 3)
            assert seen == [3, 1, 2]
            assert await s.store.failures.failures() == []


async def has_lag(url: str, lag: int) -> bool:
    return bool(json.loads(await run(url, "status", "--json"))["lag"] == lag)


async def test_consumer_with_too_many_stored_messages_is_full(
    store_url: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (source, overview, health):
        monkeypatch.setattr(module, "MAX_STORED_MESSAGES", 2)
    monkeypatch.setattr(source, "BACKLOG_INTERVAL_S", 0.05)
    url, seen, failing = store_url("sqlite"), list[int](), {1}
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"), placed(2, "a"))
        async with failing_app(topic, seen, failing).open(url, lease_s=0.5) as s:
            await idle(s, 2)
            await until(lambda: "receives no more messages" in caplog.text)
            status = json.loads(await run(url, "status", "--json"))
            checks = {each["name"]: each for each in json.loads(await run(url, "doctor", "--json"))["checks"]}

            assert (status["state"], status["stored_messages"]) == ("full", 2)
            await topic.publish(placed(3, "b"), placed(4, "c"))
            await eventually(lambda: has_lag(url, 2))
            finding = checks["subscription consumer"]
            assert finding["status"] == "problem"
            assert finding["detail"].startswith("2 messages: it receives no more messages, because 2 of failed keys")
            [command] = re.findall(r"run: fait (parked discard .*) --store", finding["advice"])
            await run(url, *command.split(), "--yes")
            await until(lambda: sorted(seen) == [3, 4])

            async def is_live() -> bool:
                return json.loads(await run(url, "status", "--json"))["state"] == "live"

            await eventually(is_live)


async def test_mark_far_above_all_others_of_its_source_is_a_problem(store_url: Any) -> None:
    url, seen = store_url("sqlite"), list[int]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"), placed(MAX_POSITION_JUMP + 2, "b"))
        async with failing_app(topic, seen, set()).open(url, lease_s=0.5) as s:
            await idle(s, 2)
            checks = json.loads(await run(url, "doctor", "--json"))["checks"]

    [jump] = [each for each in checks if each["status"] == "problem"]
    assert jump["name"] == "marks of consumer"
    assert jump["detail"] == (
        "the mark of the key 'b' of fait:log-1/epoch-1/relay is at position 10,000,002, all others of this source are "
        "at or below 1"
    )
    assert seen == [1, MAX_POSITION_JUMP + 2]


async def test_discard_of_all_messages_of_a_key_concerns_no_later_one(store_url: Any) -> None:
    url, seen = store_url("sqlite"), list[int]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"), placed(2, "a"), placed(3, "b"))
        app = failing_app(topic, seen, {1})
        app.include(Placed)
        async with app.open(url, lease_s=0.5) as s:
            for number in range(20):  # the positions of the log are above the numbers of messages
                await s.publish(Placed("x", number), stream="order-1")
            await idle(s, 3)
            await run(url, "parked", "discard", "consumer", "--all", "--all-events", "--yes")
            async with asyncio.timeout(20):
                while await s.store.failures.failures():  # noqa: ASYNC110 - nothing signals it
                    await asyncio.sleep(0.02)
            await topic.publish(placed(4, "a"))
            await until(lambda: 4 in seen)

    assert seen == [3, 4]


async def test_outage_in_which_a_worker_ended_is_over_when_its_successor_reaches_the_broker(
    nats_servers: Callable[..., NatsServer], store_url: Callable[[str], str]
) -> None:
    server, url = nats_servers(), store_url("sqlite")
    async with new_topic(server.url) as topic:
        app = failing_app(topic, [], set())
        async with app.open(url, lease_s=0.5) as s:
            await idle(s, 0)
            server.stop()
            await eventually(lambda: healths(s))
        server.start()
        async with app.open(url, lease_s=0.5) as s:
            assert await healths(s)  # of the former worker
            await eventually(lambda: has_no_outage(s))


async def healths(system: fait.System) -> list[str]:
    """Return the outages that the store shows."""
    return [each.health for each in await system.store.leases.ranges() if each.health]


async def has_no_outage(system: fait.System) -> bool:
    return not await healths(system)
