"""Rolling deploys of consumers: processes that handle fewer types of messages run with those that handle more."""

from collections.abc import AsyncGenerator, Callable
from uuid import uuid4

import pytest

import fait
from tests.inbox.topics import Topic, by_key, cloud_event, eventually, idle, new_topic, until

pytestmark = pytest.mark.anyio

Calls = list[tuple[str, str, int]]
"""Version of the code, key and number of the message of each call."""


@pytest.fixture(params=["memory", "nats_server", "redis_server", "rabbitmq_server", "kafka_server"])
async def topic(request: pytest.FixtureRequest) -> AsyncGenerator[Topic, None]:
    broker = f"memory:{uuid4().hex}" if request.param == "memory" else request.getfixturevalue(request.param).url
    async with new_topic(broker) as created:
        yield created


@pytest.fixture(params=["sqlite", "postgres 18"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


def consuming(version: str, calls: Calls, topic: Topic, *types: str) -> fait.App:
    """Return an app with a consumer of types of CloudEvents."""
    app = fait.App("shop")

    @app.consume(topic.name, from_=topic.url, type=types, name="consumer")
    async def handle(event: fait.CloudEvent) -> None:
        key, _, number = (event.text("id") or "").partition("-")
        calls.append((version, key, int(number)))

    return app


async def waits_for_newer_code(system: fait.System) -> bool:
    [status] = await system.status()
    return isinstance(status.error, fait.EventTooNew)


async def test_messages_of_an_added_type_are_left_to_new_code_with_all_that_follow(url: str, topic: Topic) -> None:
    calls = Calls()
    old, new = consuming("old", calls, topic, "sold"), consuming("new", calls, topic, "sold", "returned")
    await topic.send([cloud_event(f"{key}-1", key, type="sold") for key in "abc"])
    async with old.open(url, lease_s=30) as former:  # it does not look at registrations before the end
        await idle(former, 3)
        async with new.open(url, run="elsewhere"):
            pass
        for number, type in ((2, "returned"), (3, "unknown"), (4, "sold")):
            await topic.send([cloud_event(f"{key}-{number}", key, type=type) for key in "abc"])
        await eventually(lambda: waits_for_newer_code(former))
        assert {number for _, _, number in calls} == {1}
    async with new.open(url):
        await until(lambda: len(calls) == 9)

    assert {(version, number) for version, _, number in calls} == {("old", 1), ("new", 2), ("new", 4)}
    assert by_key([(key, number) for _, key, number in calls]) == {key: [1, 2, 4] for key in "abc"}


async def test_type_that_is_no_longer_handled_is_passed_over_once_that_is_accepted(url: str, topic: Topic) -> None:
    calls = Calls()
    async with consuming("old", calls, topic, "sold", "returned").open(url, run="elsewhere"):
        pass
    new = consuming("new", calls, topic, "sold")
    await topic.send([cloud_event("a-1", "a", type="returned"), cloud_event("a-2", "a", type="sold")])
    async with new.open(url) as s:
        await eventually(lambda: waits_for_newer_code(s))
        assert calls == []
    async with new.open(url, accept=["consumer"]) as s:
        await idle(s, 2)

    assert calls == [("new", "a", 2)]
