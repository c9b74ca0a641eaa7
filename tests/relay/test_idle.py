"""A relay without events to publish: it connects when its range begins."""

import time
from collections.abc import Callable
from uuid import uuid4

import fait
from fait._delivery.brokers.memory.server import server_of
from fait.broker import Topology
from tests.relay.published import TOPIC, append, relay_app, until
from tests.servers.nats import NatsServer


def topic_of(event: object) -> str:
    return TOPIC


async def status_of(system: fait.System) -> fait.SubscriptionStatus:
    return (await system.status())[0]


async def fails_with(system: fait.System, error: type[Exception]) -> bool:
    return isinstance((await status_of(system)).error, error) and await has_outage(system)


async def has_outage(system: fait.System) -> bool:
    """Whether the store shows an outage to other processes."""
    return any(each.health for each in await system.store.leases.ranges())


async def is_live(system: fait.System) -> bool:
    return (await status_of(system)).state == "live" and not await has_outage(system)


async def test_relay_without_events_notices_a_missing_topic_and_is_live_when_it_is_there() -> None:
    url = f"memory:{uuid4().hex}"
    async with relay_app(url).open("memory:", lease_s=0.5) as system:
        await until(lambda: fails_with(system, fait.TopologyMismatch))
        server_of(url.partition(":")[2]).create(Topology({TOPIC: 1}))
        await until(lambda: is_live(system))
        await append(system, 1)
        await system.wait(timeout_s=10)


async def test_relay_whose_topics_a_function_returns_notices_an_unreachable_broker_without_events() -> None:
    async with relay_app("nats://127.0.0.1:1", topic=topic_of).open("memory:") as system:
        await until(lambda: fails_with(system, fait.BrokerUnavailable))


async def test_outage_in_which_a_relay_ended_is_over_when_its_successor_connects_without_events(
    nats_servers: Callable[..., NatsServer], store_url: Callable[[str], str]
) -> None:
    server, url = nats_servers(), store_url("sqlite")
    app = relay_app(server.url, topic=topic_of)
    server.stop()
    async with app.open(url, lease_s=0.5) as system:
        await until(lambda: has_outage(system))
    server.start()
    async with app.open(url, lease_s=0.5) as system:
        await until(lambda: is_live(system))


async def test_relay_that_connects_to_a_broker_that_does_not_answer_stops_at_once() -> None:
    url = f"memory:{uuid4().hex}"
    server_of(url.partition(":")[2]).frozen = True
    async with relay_app(url).open("memory:") as system:
        await until(lambda: is_acquired(system))
        began = time.monotonic()

    assert time.monotonic() - began < 3


async def is_acquired(system: fait.System) -> bool:
    return any(each.worker for each in await system.store.leases.ranges())
