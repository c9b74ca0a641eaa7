"""Retention: expired messages are dropped once every subscription has passed them."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

import pytest

import fait
from fait._clock import ManualClock
from fait._events.event import event_type
from fait._store.open import backend_names, open_store
from fait._store.ports.leases import Worker
from fait._store.ports.registrations import RangeKey
from fait.testing.contract.leases import range_of
from fait.testing.contract.store import START, everything
from fait.testing.contract.turns import let_readers_wait

DAY = timedelta(days=1)


@fait.event("post.mail-wanted", expires=True)
class MailWanted:
    to: str


@fait.event("post.ping", expires=timedelta(hours=1))
class Ping:
    pass


@fait.event("post.letter-sent")
class LetterSent:
    to: str


class Letters(fait.ReadModel, key="post_id", table="post_letters"):
    post_id: str

    @classmethod
    def evolve(cls, row: Self | None, event: LetterSent, at: fait.Envelope) -> Self | None:
        return cls(post_id=at.stream_id)


class Wishes(fait.ReadModel, key="post_id", table="post_wishes"):
    post_id: str

    @classmethod
    def evolve(cls, row: Self | None, event: MailWanted, at: fait.Envelope) -> Self | None:
        return cls(post_id=at.stream_id)


def post(*things: Any, name: str = "post") -> fait.App:
    app = fait.App(name)
    app.include(MailWanted, Ping, LetterSent, *things)
    return app


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(params=backend_names())
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture
def durable_url(url: str) -> str:
    if url == "memory:":
        pytest.skip("a memory store cannot be reopened")
    return url


async def sweep(system: fait.System) -> int:
    return await system._subscription_runner.retention.sweep()


async def types(system: fait.System) -> list[str]:
    return [each.type.removeprefix("post.") for each in await everything(system.store.log)]


async def publish(system: fait.System, *events: Any) -> None:
    for each in events:
        await system.publish(each, stream="post-1")


async def test_messages_expire_after_retention_of_their_type_and_facts_never(url: str, clock: ManualClock) -> None:
    async with post().open(url, clock=clock, run="elsewhere") as s:
        await publish(s, MailWanted("a"), LetterSent("a"), Ping(), fait.Untyped("other.imported", {}), LetterSent("b"))
        remaining = list[list[str]]()
        for pause in (timedelta(minutes=59), timedelta(minutes=2), 6 * DAY, DAY, 9999 * DAY):
            clock.moment += pause
            await sweep(s)
            remaining.append(await types(s))

    facts = ["letter-sent", "other.imported", "letter-sent"]
    with_mail = ["mail-wanted", *facts]
    assert remaining == [["mail-wanted", "letter-sent", "ping", *facts[1:]], with_mail, with_mail, facts, facts]


async def test_message_is_kept_until_subscriptions_of_all_apps_passed_it(url: str, clock: ManualClock) -> None:
    app, other, handled = post(), post(name="other"), list[str]()

    @other.on(MailWanted, start="beginning")
    def send(event: MailWanted) -> None:
        handled.append(event.to)

    async with app.open(url, clock=clock, run="elsewhere") as s:
        async with _same(other, s) as prepared:
            await publish(s, *(MailWanted(str(n)) for n in range(5)), LetterSent("a"))
            clock.moment += 8 * DAY
            assert await sweep(s) == 0
            await prepared._subscription_runner.start()
            await prepared.wait()
            await _until(lambda: _at_head(prepared))
        await sweep(s)  # the retention of the other app may have dropped some already
        assert await types(s) == ["letter-sent"]

    assert handled == ["0", "1", "2", "3", "4"]


async def test_running_app_sweeps_without_a_call(
    durable_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fait._subscriptions.retention.SWEEP_INTERVAL_S", 0.02)
    caplog.set_level(logging.INFO, "fait")
    app = post()
    async with app.open(durable_url, clock=clock, run="elsewhere", lease_s=0.02) as s:
        await publish(s, MailWanted("a"), LetterSent("a"))
        clock.moment += 8 * DAY
        assert s._subscription_runner.background_tasks == []  # nothing sweeps
        assert await types(s) == ["mail-wanted", "letter-sent"]
    async with app.open(durable_url, clock=clock, lease_s=0.02) as s:
        await _until(lambda: _types_are(s, ["letter-sent"]))
        assert await s.status() == []
        assert (await range_of(s.store, "fait:retention:post")).worker
    async with app.open(durable_url, clock=clock, run="elsewhere") as s:
        assert not (await range_of(s.store, "fait:retention:post")).worker

    assert "expired messages dropped: type=post.mail-wanted count=1 retention=7 days" in caplog.text


async def test_retention_owner_sweeps_until_its_heartbeat_stops(
    durable_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._subscriptions.retention.SWEEP_INTERVAL_S", 60)
    app, lease_s = post(), 60.0
    async with app.open(durable_url, clock=clock, run="elsewhere") as one:
        await one.store.leases.heartbeat(Worker("first"))
        first = asyncio.create_task(one._subscription_runner.retention.run("first", lease_s))
        await _until(lambda: _owner_is(one, "first"))
        async with app.open(durable_url, clock=clock, run="elsewhere") as two:
            await two.store.leases.heartbeat(Worker("second"))
            second = asyncio.create_task(two._subscription_runner.retention.run("second", lease_s))

            async def pass_half_a_lease() -> None:
                clock.advance(seconds=lease_s / 2)
                for each in (one, two):
                    each._subscription_runner.retention.wake()
                    await let_readers_wait(each.store.log)

            for _ in range(10):
                await one.store.leases.heartbeat(Worker("first"))
                await pass_half_a_lease()
                assert await _owner_is(two, "first")
            first.cancel()
            while not await _owner_is(two, "second"):
                await pass_half_a_lease()
            for each in (first, second):
                each.cancel()
            await asyncio.gather(first, second, return_exceptions=True)


async def test_sweep_after_failure_is_retried(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fait._subscriptions.retention.SWEEP_INTERVAL_S", 0.01)
    async with post().open("memory:", clock=clock, run="elsewhere") as s:
        await publish(s, MailWanted("a"), LetterSent("a"))
        clock.moment += 8 * DAY
        expire, failures = s._store.log.expire, iter([RuntimeError("once"), RuntimeError("twice")])

        async def failing(*values: Any, **named: Any) -> Any:
            if problem := next(failures, None):
                raise problem
            return await expire(*values, **named)

        monkeypatch.setattr(s._store.log, "expire", failing)
        await s._store.leases.heartbeat(Worker("me"))
        running = asyncio.create_task(s._subscription_runner.retention.run("me", 0))
        await _until(lambda: _types_are(s, ["letter-sent"]))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert caplog.text.count("retention sweep failed") == 2


async def test_former_last_event_of_stream_is_dropped_by_full_sweep(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with post().open("memory:", clock=clock, run="elsewhere") as s:
        await publish(s, MailWanted("a"))
        clock.moment += 8 * DAY
        assert await sweep(s) == 0
        await publish(s, LetterSent("a"))

        monkeypatch.setattr(clock, "_passed_s", 1e12)

        assert await sweep(s) == 1


async def test_subscription_holding_messages_back_is_logged_with_their_age(
    url: str, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = post(Letters)
    app.on(MailWanted, name="stuck")(_nothing)
    async with app.open(url, clock=clock, run="elsewhere") as s:
        await publish(s, MailWanted("a"), LetterSent("a"), LetterSent("b"))
        head = await s._store.log.head()
        clock.moment += 7 * DAY
        assert await sweep(s) == 0
        assert caplog.text == ""
        clock.moment += 2 * DAY
        assert await sweep(s) == 0

    for name in ("stuck", "post_letters"):
        fields = f"subscription={name} position=0 failed_key='' head={head} type=post.mail-wanted oldest_position=1"
        assert f"subscription holds back expired messages: {fields} age=9 days, 0:00:00" in caplog.text


# Subscriptions that start before dropped messages


@pytest.fixture
async def expired_url(durable_url: str, clock: ManualClock) -> str:
    """A store in which one of two messages was dropped."""
    async with post().open(durable_url, clock=clock, run="elsewhere") as s:
        await publish(s, MailWanted("a"), LetterSent("a"), MailWanted("b"))
        clock.moment += 8 * DAY
        assert await sweep(s) == 1
    return durable_url


async def test_new_subscription_to_dropped_messages_raises_position_expired(
    expired_url: str, clock: ManualClock
) -> None:
    app = post()
    app.on(MailWanted, LetterSent, name="late", start="beginning")(_nothing)
    with pytest.raises(
        fait.PositionExpired, match=r"'late' .* position 0, but messages up to position 1 .*'now'"
    ) as why:
        async with app.open(expired_url, clock=clock):
            pass

    assert (why.value.subscription, why.value.position, why.value.expired) == ("late", 0, 1)
    late = post()
    late.on(MailWanted, LetterSent, name="late", start="now")(_nothing)
    async with late.open(expired_url, clock=clock, run="elsewhere") as s:
        [checkpoint] = await s._store.leases.ranges()
        assert checkpoint.position == await s._store.log.head()


@pytest.mark.parametrize("events", [(MailWanted,), (Ping,), (fait.Untyped,)])
async def test_rejected_new_subscription_leaves_no_checkpoint(
    expired_url: str, clock: ManualClock, events: tuple[type, ...]
) -> None:
    app = post()
    app.on(*events, name="late", start="beginning")(_nothing)
    with pytest.raises(fait.PositionExpired):
        async with app.open(expired_url, clock=clock):
            pass

    store = await open_store(expired_url)
    assert await store.registrations.registrations() == []
    await store.close()


async def test_subscription_to_facts_starts_at_beginning_after_drop(expired_url: str, clock: ManualClock) -> None:
    async with post(Letters).open(expired_url, clock=clock) as s:
        await s.wait()

        assert [row.post_id for row in await s.find(Letters)] == ["1"]
        await s.rebuild(Letters)


async def test_checkpoint_before_dropped_messages_is_rejected_and_unchanged(
    expired_url: str, clock: ManualClock
) -> None:
    app = post()
    app.on(MailWanted, name="old")(_nothing)
    async with app.open(expired_url, clock=clock, run="elsewhere") as s:
        [now] = await s._store.registrations.registrations()
        await s._store.registrations.forget("old")
        await s._store.registrations.register(now, 0)

    with pytest.raises(fait.PositionExpired, match=r"forget=\['old'\]"):
        async with app.open(expired_url, clock=clock):
            pass
    async with app.open(expired_url, clock=clock, forget=["old"], run="elsewhere") as s:
        assert (await s._store.leases.ranges())[0].position == await s._store.log.head()


async def test_rebuild_from_dropped_messages_raises_position_expired(durable_url: str, clock: ManualClock) -> None:
    async with post(Wishes).open(durable_url, clock=clock) as s:
        await publish(s, MailWanted("a"), MailWanted("b"))
        await s.wait()
        await s.rebuild(Wishes)
        await s.wait()
        await _until(lambda: _at_head(s))
        clock.moment += 8 * DAY
        assert await sweep(s) == 1

        with pytest.raises(fait.PositionExpired):
            await s.rebuild(Wishes)

        assert [row.post_id for row in await s.find(Wishes)] == ["1"]


# Declarations


def test_aggregate_folding_expiring_event_raises_declaration_error() -> None:
    class Mailbox(fait.Aggregate, category="mailbox"):
        wanted: int = 0

        def evolve(self, event: MailWanted | LetterSent) -> None:
            self.wanted += 1

    app = fait.App("app")
    app.include(Mailbox)

    with pytest.raises(fait.DeclarationError, match=r"'post.mail-wanted'.*expires, and a decision folds it"):
        app._resolve()


@pytest.mark.parametrize("expires", [timedelta(), timedelta(days=-1), 7, "7 days"])
def test_invalid_retention_raises_declaration_error(expires: Any) -> None:
    with pytest.raises(fait.DeclarationError, match="greater than zero"):
        fait.event("post.odd", expires=expires)
    with pytest.raises(fait.DeclarationError, match="greater than zero"):
        fait.describe("post.odd", expires=expires)


def test_described_class_can_expire() -> None:
    @dataclasses.dataclass
    class Theirs:
        n: int

    fait.describe("post.theirs", expires=3 * DAY)(Theirs)

    declared = [event_type(each) for each in (Theirs, LetterSent)]

    assert [each and each.retention for each in declared] == [3 * DAY, None]


# Helpers


async def _nothing(event: Any) -> None: ...


@asynccontextmanager
async def _same(app: fait.App, system: fait.System) -> AsyncIterator[fait.System]:
    """Open another app on the store of a system."""
    other = fait.System(app._resolve(), system.store, system._clock, 5.0)
    await other._prepare()
    try:
        yield other
    finally:
        await other._subscription_runner.stop()


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - the condition is in a database
            await asyncio.sleep(0.01)


async def _at_head(system: fait.System) -> bool:
    head = await system.store.log.head()
    return all(each.position == head for each in await system.store.leases.ranges())


async def _types_are(system: fait.System, expected: list[str]) -> bool:
    return await types(system) == expected


async def _owner_is(system: fait.System, owner: str) -> bool:
    current = await system.store.leases.range(RangeKey("fait:retention:post"))
    return current is not None and current.worker == owner
