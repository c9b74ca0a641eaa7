"""Rolling deploys of relays: a process whose relay publishes fewer classes runs with one that publishes more."""

from collections.abc import Callable

import pytest

import fait
from tests.relay.published import SOON_S, Counted, Noted, TestedBroker, recorded, relay_app, until, until_published

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres 18"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def waits_for_newer_code(system: fait.System) -> bool:
    [status] = await system.status()
    return isinstance(status.error, fait.EventTooNew)


async def test_events_of_an_added_class_that_the_old_process_appends_are_published_in_order(
    url: str, any_broker: TestedBroker
) -> None:
    old = fait.App("shop")
    old.include(Counted, Noted)
    old.relay(Counted, to=any_broker.url, topic="orders", name="relay-orders", start="beginning")
    new = relay_app(any_broker.url)
    async with old.open(url, lease_s=30) as s:  # it does not look at registrations before the end
        for number in range(3):
            await s.publish(Counted(number), stream="a-1")
        await s.wait(timeout_s=SOON_S)
        async with new.open(url, run="elsewhere"):
            pass
        await s.publish(Noted("4"), stream="a-1")
        await s.publish(Counted(5), stream="a-1")
        await until(lambda: waits_for_newer_code(s))
    async with new.open(url) as s:
        await until_published(s, any_broker)

        assert await any_broker.arrived() == await recorded(s)
