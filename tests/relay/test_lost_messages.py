"""A broker that loses messages that it has confirmed: the relay stops, and after a rewind each event is there again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fait
from fait._app import declarations_of
from fait._clock import SystemClock
from fait._delivery.relay.rewind import RelayRewind, rewind_relay
from fait._store.ports.failures import FailureRequest
from fait._store.ports.registrations import SLOTS
from fait._subscriptions.takeover import take_over
from fait.broker import Accepted, Message, Source
from tests.relay.checker import problems
from tests.relay.published import (
    TOPIC,
    Counted,
    Noted,
    TestedBroker,
    append,
    opened,
    recorded,
    relay_app,
    until,
    until_published,
)

NAME = "relay-orders"

WAIT_LONG = fait.FailurePolicy(initial_s=30, max_s=30)


async def rewind(system: fait.System, app: fait.App, **options: bool) -> list[RelayRewind]:
    relay = declarations_of(app).relays[NAME]
    registration = await system.store.registrations.registration(NAME)
    assert registration is not None
    return await rewind_relay(
        system.store, relay, registration, SystemClock(), **{"execute": True, "accept_loss": False, **options}
    )


async def has_lost(system: fait.System) -> bool:
    [status] = await system.status()
    return status.state == "failing" and isinstance(status.error, fait.BrokerLostMessages)


async def is_parked(system: fait.System) -> bool:
    return [each.state for each in await system.store.failures.failures()] == ["parked"]


async def has_no_failure(system: fait.System) -> bool:
    return not await system.store.failures.failures()


async def has_passed(system: fait.System) -> bool:
    [status] = await system.status()
    return status.lag == 0


async def redrive(system: fait.System, key: str) -> None:
    request = FailureRequest(NAME, (key,), "redriving", by="test", reason="the limit was raised")
    assert await system.store.failures.request(request) == 1
    await until(lambda: has_no_failure(system))


async def split(url: str) -> None:
    """Split the range of the relay, which no worker runs."""
    async with fait.App("other").open(url) as system:
        registration = await system.store.registrations.registration(NAME)
        assert registration is not None
        async with take_over(system.store, registration) as [lease]:
            assert await system.store.leases.split(lease, SLOTS // 2)


async def publish_again(system: fait.System, broker: TestedBroker, buckets: range, position: int) -> None:
    """Publish a message for some buckets, as if the broker had not lost their messages up to a position."""
    log, [event] = system.store.log.identity, (await system.store.log.read(position - 1, limit=1)).events
    async with opened(broker.url) as connection:
        publisher = await connection.publisher(TOPIC, Source(log.log_id, log.epoch_id, NAME), buckets, 0)
        message = Message(id=event.id, key="any", bucket=buckets[0], position=position, headers={}, body=b"{}")
        assert isinstance((await publisher.publish([message], after=0, upto=position))[0], Accepted)


async def test_relay_stops_at_lost_messages_and_publishes_them_again_after_a_rewind(
    broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path
) -> None:
    url, app = store_url("sqlite"), relay_app(broker.url)
    async with app.open(url) as system:
        await append(system, 40)
        await until_published(system, broker)
    broker.save(tmp_path / "saved")
    async with app.open(url) as system:
        await append(system, 20, start=40)
        await until_published(system, broker)
    broker.lose(tmp_path / "saved")

    async with app.open(url) as system:
        await append(system, 5, start=60)
        await until(lambda: has_lost(system))
        [status] = await system.status()
        stopped = await broker.arrived()
        planned = await rewind(system, app, execute=False)
        await until(lambda: has_lost(system))
        changed = await rewind(system, app)
        await until_published(system, broker)
        again = await rewind(system, app)

    assert isinstance(status.error, fait.BrokerLostMessages)
    assert (status.error.position, status.error.confirmed) == (40, 60)
    assert len(stopped) == 40
    assert planned == changed == [RelayRewind(0, 60, 40, 256, (), ())]
    assert again == []


async def test_rewind_ends_the_delay_of_a_waiting_worker(
    memory_broker: TestedBroker,
    store_url: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, app = store_url("sqlite"), relay_app(memory_broker.url)
    memory_broker.save(tmp_path / "saved")
    async with app.open(url) as system:
        await append(system, 5)
        await until_published(system, memory_broker)
    memory_broker.lose(tmp_path / "saved")
    async with app.open(url) as system:
        run = system._subscription_runner.groups[NAME].run
        monkeypatch.setattr("fait._subscriptions.subscription_run.OUTAGE_POLICY", WAIT_LONG)
        await append(system, 5, start=5)
        await until(lambda: has_lost(system))
        await until(lambda: is_resting(system))
        run.rests_until += 3600
        await rewind(system, app)
        await until_published(system, memory_broker)


async def is_resting(system: fait.System) -> bool:
    return system._subscription_runner.groups[NAME].rests


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
@pytest.mark.parametrize("is_split", [False, True])
async def test_rewind_publishes_no_event_from_before_the_relay_began(
    memory_broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path, backend: str, is_split: bool
) -> None:
    broker, url = memory_broker, store_url(backend)
    app = relay_app(broker.url, start="now")
    broker.save(tmp_path)
    before = fait.App("shop")
    before.include(Counted)
    async with before.open(url) as system:
        await append(system, 10)
    async with app.open(url) as system:
        await append(system, 10, start=10)
        await system.wait(timeout_s=30)
    if is_split:
        await split(url)
    async with app.open(url) as system:
        await append(system, 10, start=20)
        await system.wait(timeout_s=30)
    broker.lose(tmp_path)

    async with app.open(url) as system:
        await append(system, 5, start=30)
        await until(lambda: has_lost(system))
        changed = await rewind(system, app)
        await system.wait(timeout_s=30)

        expected = [each for each in await recorded(system) if each.position > 10]
        assert problems(expected, await broker.arrived(), repeats=False) == []
    assert {(each.position, each.start) for each in changed} == {(10, 10)}


async def test_dry_run_disturbs_no_worker(
    broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path
) -> None:
    app = relay_app(broker.url)
    async with app.open(store_url("sqlite")) as system:
        await append(system, 10)
        await until_published(system, broker)
        before = [(each.worker, each.fencing_token) for each in await system.store.leases.ranges()]

        planned = await rewind(system, app, execute=False)
        await append(system, 10, start=10)
        await until_published(system, broker)

        [status] = await system.status()
        assert [(each.worker, each.fencing_token) for each in await system.store.leases.ranges()] == before
    assert (planned, status.error) == ([], None)


async def test_ranges_with_different_losses_need_one_rewind(
    memory_broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path
) -> None:
    url, app = store_url("sqlite"), relay_app(memory_broker.url)
    memory_broker.save(tmp_path)
    async with app.open(url) as system:
        await append(system, 10)
        await until_published(system, memory_broker)
    await split(url)
    memory_broker.lose(tmp_path)

    async with app.open(url, run="elsewhere") as system:
        await publish_again(system, memory_broker, range(128, 256), position=5)
        changed = await rewind(system, app)
        again = await rewind(system, app)

    assert [(each.low, each.position) for each in changed] == [(0, 0), (SLOTS // 2, 5)]
    assert again == []


async def test_rewind_at_another_broker_publishes_what_was_published_there(
    memory_broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path
) -> None:
    url, other = store_url("sqlite"), type(memory_broker)(f"{memory_broker.url}-other")
    await other.prepare()
    other.save(tmp_path)
    async with memory_broker.limited(), relay_app(memory_broker.url).open(url) as system:
        await append(system, 5)
        await system.append(fait.NewEvents("big", [Noted("x" * memory_broker.limited_bytes)]))
        await until(lambda: is_parked(system))
        await append(system, 5, start=5)
        await until(lambda: has_passed(system))
    app = relay_app(other.url)
    async with app.open(url) as system:
        await append(system, 5, start=10)
        await until(lambda: has_passed(system))
        await redrive(system, "big")
        await append(system, 5, start=15)
        await until(lambda: has_passed(system))
    other.lose(tmp_path)

    async with app.open(url) as system:
        await append(system, 5, start=20)
        await until(lambda: has_lost(system))
        [changed] = await rewind(system, app)
        await until(lambda: has_passed(system))

        assert (changed.position, changed.start) == (5, 5)
        expected = [each for each in await recorded(system) if each.position > 5]
        assert problems(expected, await other.arrived()) == []


async def test_running_relay_notices_lost_messages(
    broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path
) -> None:
    if broker.url.startswith("memory"):
        pytest.skip("its connections do not break")
    app = relay_app(broker.url)
    async with app.open(store_url("sqlite")) as system:
        await append(system, 10)
        await until_published(system, broker)
        broker.save(tmp_path / "saved")
        await append(system, 10, start=10)
        await until_published(system, broker)
        broker.lose(tmp_path / "saved")
        await append(system, 10, start=20)
        await until(lambda: has_lost(system))

        await rewind(system, app)

        await until_published(system, broker)


async def test_accepted_loss_continues_at_the_checkpoint(
    memory_broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path
) -> None:
    broker, url = memory_broker, store_url("sqlite")
    app = relay_app(broker.url)
    broker.save(tmp_path)
    async with app.open(url) as system:
        await append(system, 10)
        await until_published(system, broker)
    broker.lose(tmp_path)

    async with app.open(url) as system:
        await append(system, 1, start=10)
        await until(lambda: has_lost(system))
        changed = await rewind(system, app, accept_loss=True)
        await system.wait(timeout_s=30)

    assert [(each.checkpoint, each.position) for each in changed] == [(10, 10)]
    assert [each.position for each in await broker.arrived()] == [11]


@pytest.mark.parametrize("saved_after", ["before the failure", "after the failure", "after the redrive"])
async def test_parked_and_redriven_events_are_there_again(
    memory_broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path, saved_after: str
) -> None:
    broker, url = memory_broker, store_url("sqlite")
    app, places = relay_app(broker.url), iter(["before the failure", "after the failure", "after the redrive"])

    def save() -> None:
        if next(places) == saved_after:
            broker.save(tmp_path)

    async with broker.limited(), app.open(url) as system:
        await append(system, 10)
        await until(lambda: has_passed(system))
        save()
        await system.append(fait.NewEvents("big", [Noted("x" * broker.limited_bytes), Noted("after")]))
        await append(system, 10, start=10)
        await until(lambda: has_passed(system))
        await until(lambda: is_parked(system))
        save()
    async with app.open(url) as system:
        await redrive(system, "big")
        save()
        await append(system, 5, start=20)
        await until_published(system, broker)
    broker.lose(tmp_path)

    async with app.open(url) as system:
        await append(system, 5, start=25)
        await until(lambda: has_lost(system))
        await rewind(system, app)
        await until(lambda: has_passed(system))
        await until(lambda: has_no_failure(system))

        assert problems(await recorded(system), await broker.arrived(), repeats=True) == []


async def test_key_that_was_parked_in_the_lost_part_is_published_with_all_others(
    memory_broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path
) -> None:
    broker, url = memory_broker, store_url("sqlite")
    app = relay_app(broker.url)
    async with broker.limited(), app.open(url) as system:
        await append(system, 5)
        await until(lambda: has_passed(system))
        broker.save(tmp_path)
        await system.append(fait.NewEvents("big", [Noted("x" * broker.limited_bytes), Noted("after")]))
        await append(system, 5, start=5)
        await until(lambda: has_passed(system))
        await until(lambda: is_parked(system))
    broker.lose(tmp_path)

    async with app.open(url) as system:
        await append(system, 1, start=10)
        await until(lambda: has_lost(system))
        [changed] = await rewind(system, app)

        assert (changed.position, changed.forgotten) == (5, ("big",))
        await until_published(system, broker)
        assert await has_no_failure(system)


async def test_key_that_was_parked_before_the_hole_stays_parked(
    memory_broker: TestedBroker, store_url: Callable[[str], str], tmp_path: Path
) -> None:
    broker, url = memory_broker, store_url("sqlite")
    app = relay_app(broker.url)
    async with broker.limited(), app.open(url) as system:
        await append(system, 5)
        await system.append(fait.NewEvents("big", [Noted("x" * broker.limited_bytes), Noted("after")]))
        await append(system, 5, start=5)
        await until(lambda: has_passed(system))
        await until(lambda: is_parked(system))
        broker.save(tmp_path)
        await append(system, 5, start=10)
        await until(lambda: has_passed(system))
    broker.lose(tmp_path)

    async with app.open(url) as system:
        await append(system, 1, start=15)
        await until(lambda: has_lost(system))
        [changed] = await rewind(system, app)
        await until(lambda: has_passed(system))
        assert await is_parked(system)
        await redrive(system, "big")

        assert (changed.position, changed.forgotten) == (12, ())
        await until_published(system, broker)


async def test_rewind_of_a_broker_without_a_fence_is_refused(
    memory_broker: TestedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from msgspec.structs import replace

    from fait._delivery.brokers.memory import broker as memory

    app = relay_app(memory_broker.url)
    monkeypatch.setattr(memory, "FEATURES", replace(memory.FEATURES, fence="none"))
    async with app.open("memory:") as system:
        with pytest.raises(fait.UsageError, match="has no fence"):
            await rewind(system, app)


async def test_relay_waits_if_its_variable_names_another_broker_and_a_rewind_publishes_all_there(
    memory_broker: TestedBroker, store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, app = store_url("sqlite"), relay_app("${BROKER}")
    other: Any = type(memory_broker)(f"{memory_broker.url}-other")
    await other.prepare()
    monkeypatch.setenv("BROKER", memory_broker.url)
    async with app.open(url) as system:
        await append(system, 5)
        await until_published(system, memory_broker)
    monkeypatch.setenv("BROKER", other.url)

    async with app.open(url) as system:
        await append(system, 5, start=5)
        await until(lambda: has_lost(system))
        assert await other.arrived() == []
        await rewind(system, app)
        await until_published(system, other)

    assert sorted(each.position for each in await other.arrived()) == [*range(1, 11)]


async def test_renamed_relay_and_another_broker_expect_nothing(
    memory_broker: TestedBroker, store_url: Callable[[str], str]
) -> None:
    url = store_url("sqlite")
    async with relay_app(memory_broker.url).open(url) as system:
        await append(system, 5)
        await until_published(system, memory_broker)
    other: Any = type(memory_broker)(f"{memory_broker.url}-other")
    await other.prepare()

    async with relay_app(other.url).open(url) as system:
        await append(system, 5, start=5)
        await system.wait(timeout_s=30)
        assert sorted(each.position for each in await other.arrived()) == [6, 7, 8, 9, 10]
    async with relay_app(other.url, name="renamed").open(url, renamed={NAME: "renamed"}) as system:
        await append(system, 5, start=10)
        await system.wait(timeout_s=30)

    assert len(await other.arrived()) == 10
