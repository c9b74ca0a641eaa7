"""What relays and consumers log in an outage of their broker: when it begins and ends, and nothing of client libraries.

A process logs each outage once: with an interval of up to 30 s, the attempts of a night would hide all other lines.
"""

import logging
from typing import Any
from uuid import uuid4

import pytest

import fait
from tests.inbox.topics import Placed, new_topic, placed, until
from tests.servers.broker import BrokerServer

KINDS = ("nats_servers", "redis_servers", "rabbitmq_servers", "stoppable_kafka_server")


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> BrokerServer:
    fixture = request.getfixturevalue(request.param)
    return fixture if isinstance(fixture, BrokerServer) else fixture()


def app_of(url: str, topic: str, seen: list[int]) -> fait.App:
    app = fait.App("orders")
    app.relay(Placed, to=url, topic=topic, name="relay")

    @app.consume(topic, from_=url, as_=Placed, name="consumer")
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    return app


async def test_outage_is_logged_when_it_begins_and_when_it_ends(
    server: BrokerServer, caplog: pytest.LogCaptureFixture
) -> None:
    seen = list[int]()
    async with new_topic(server.url) as topic:
        name = topic.name
    async with app_of(server.url, name, seen).open("memory:") as s:
        await s.publish(Placed("a", 1), stream="order-a")
        await until(lambda: seen == [1])
        caplog.set_level(logging.DEBUG, "fait")
        server.stop()
        await s.publish(Placed("a", 2), stream="order-a")
        await until(lambda: min(attempts(caplog, each) for each in ("relay", "consumer")) >= 4)
        assert sorted(shown(caplog)) == [waits("consumer"), waits("relay")]
        assert "Traceback" not in caplog.text

        if server.name in ("nats", "redis"):  # the others need long to start
            server.start()
            await until(lambda: seen == [1, 2])
            await until(lambda: len(shown(caplog)) == 4)
            assert sorted(shown(caplog)[2:]) == ["consumer continues", "relay continues"]


async def test_outage_of_a_service_is_logged_once_and_retried_with_growing_delays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "fait")
    down, seen = [True], list[int]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        app = fait.App("orders")

        @app.consume(topic.name, from_=topic.url, as_=Placed, name="consumer")
        async def handle(event: Placed) -> None:
            if down:
                raise fait.Unavailable("the mail server is down")
            seen.append(event.number)

        await topic.publish(placed(1, "a"))
        async with app.open("memory:"):
            await until(lambda: attempts(caplog, "consumer") == 4)
            down.clear()
            await until(lambda: seen == [1])
            await until(lambda: len(shown(caplog)) == 2)

    assert shown(caplog) == ["consumer waits Unavailable", "consumer continues"]
    assert "failures=4" in caplog.text


def attempts(caplog: pytest.LogCaptureFixture, name: str) -> int:
    return sum(f"subscription={name} failures=" in each.getMessage() for each in caplog.records)


def waits(name: str) -> str:
    return f"{name} waits BrokerUnavailable"


def shown(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of all loggers from INFO on; those of outages are shortened."""
    return [_shortened(each) for each in caplog.records if each.levelno >= logging.INFO]


def _shortened(record: logging.LogRecord) -> str:
    text, values = record.getMessage(), dict[str, Any]()
    for each in text.split(" "):
        name, _, value = each.partition("=")
        values[name] = value.rstrip(":")
    if text.startswith("subscription waits, retrying in "):
        return f"{values['subscription']} waits {values['error']}"
    if text.startswith("subscription continues after "):
        return f"{values['subscription']} continues"
    return f"{record.name}: {text}"
