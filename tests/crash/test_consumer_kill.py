"""Consumers are killed (-9) before and after their commits, and at random times: each message takes effect once."""

import asyncio
import random
from collections.abc import Callable
from itertools import product
from typing import Any

import apsw
import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import pytest

import fait
from tests.crash.consuming import consuming_app
from tests.crash.processes import Child
from tests.inbox.topics import Topic, by_key, new_topic, placed, reserved

EVENTS, KILLS = 200, 6
KEYS = "abcde"
EXPECTED = by_key([(KEYS[number % 5], number) for number in range(1, EVENTS + 1)])


@pytest.fixture(
    params=[
        *product(("sqlite", "postgres 18"), ("nats_server", "redis_server")),
        ("sqlite", "kafka_server"),
        ("sqlite", "rabbitmq_server"),
    ],
    ids=" ".join,
)
def places(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A store and a broker."""
    return request.param


@pytest.fixture
def url(places: tuple[str, str], store_url: Callable[[str], str]) -> str:
    return store_url(places[0])


@pytest.fixture
def broker(places: tuple[str, str], request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(places[1]).url


@pytest.mark.parametrize("when", ["before", "after"])
async def test_consumer_killed_at_a_commit_is_replaced_and_repeats_no_effect(url: str, broker: str, when: str) -> None:
    async with new_topic(broker) as topic:
        await _publish(topic)
        async with consuming_app(broker, topic.name).open(url, run="elsewhere") as system:
            await _create_effects(url)
            for number in (1, 3):
                Child("-m", "tests.crash.consuming", url, broker, topic.name, when, str(number)).finish()
            successor = Child("-m", "tests.crash.consuming", url, broker, topic.name)
            try:
                await _until_reserved(system, EVENTS)
            finally:
                successor.kill()
            await _check(system, url)


async def test_two_consumers_killed_at_random_take_over_from_each_other(url: str, broker: str) -> None:
    chance = random.Random(7)
    async with new_topic(broker) as topic:
        await _publish(topic)
        async with consuming_app(broker, topic.name).open(url, run="elsewhere") as system:
            await _create_effects(url)
            children = list[Child]()
            try:
                for number in range(KILLS):
                    children += [Child("-m", "tests.crash.consuming", url, broker, topic.name) for _ in range(2)]
                    await _until_reserved(system, (number + 1) * EVENTS // (KILLS + 2))
                    await asyncio.sleep(chance.random() * 0.02)
                    await _publish(topic)  # every event again
                    children[-2].kill()
                    children[-1].kill()
                children.append(Child("-m", "tests.crash.consuming", url, broker, topic.name))
                await _until_reserved(system, EVENTS)
            finally:
                for child in children:
                    child.kill()
            await _check(system, url)


async def _publish(topic: Topic) -> None:
    await topic.publish(*[placed(number, KEYS[number % 5]) for number in range(1, EVENTS + 1)])


async def _until_reserved(system: fait.System, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            streams = await system.store.log.streams(category="stock")
            if sum(each.version for each in streams) >= count:
                return
            await asyncio.sleep(0.01)


async def _check(system: fait.System, url: str) -> None:
    events = [(each.order, each.number) for each in await reserved(system)]
    assert by_key(events) == EXPECTED
    assert sorted(await _run(url, "SELECT key, number FROM effects")) == sorted(events)


async def _create_effects(url: str) -> None:
    await _run(url, "CREATE TABLE effects (key TEXT NOT NULL, number INTEGER NOT NULL)")


async def _run(url: str, sql: str) -> list[Any]:
    if url.startswith("sqlite"):
        return apsw.Connection(url.removeprefix("sqlite:///")).execute(sql).fetchall()
    database, _, schema = url.partition("?schema=")
    connection: Any = await asyncpg.connect(database, server_settings={"search_path": schema})
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()
