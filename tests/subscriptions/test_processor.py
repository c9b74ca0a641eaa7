"""The processor: checkpoints of skips, leases during outages and stops, and what a handler can do to it."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import fait
from fait._errors import DeclarationError, StoreUnavailable
from fait._store.open import open_store
from fait._store.ports.leases import Worker
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Store
from fait._subscriptions.processor_group import ProcessorGroup
from fait._subscriptions.subscription import Outcome
from fait.testing.contract.processors import PositionRecorder, register_recorder, running_group, until
from fait.testing.contract.store import START, added, new, write

pytestmark = pytest.mark.anyio

ONCE_THEN_SKIP = fait.FailurePolicy(initial_s=0.001, attempts=1, then="skip")


@fait.event("door.opened")
class Opened:
    number: int


class Panic(BaseException):
    """An error that is no `Exception`, as some libraries raise."""


@pytest.fixture
async def store() -> Any:
    store = await open_store("memory:", clock=fait.SystemClock())
    await register_recorder(store)
    yield store
    await store.close()


async def handled_by(handler: Callable[..., Any]) -> fait.SubscriptionStatus:
    """Publish events to a handler, wait until it has passed them, and return its status."""
    app = fait.App("doors")
    app.on(Opened, name="handler", on_failure=ONCE_THEN_SKIP)(handler)
    async with app.open("memory:") as s:
        for number in range(2):
            result = await s.publish(Opened(number), stream="door-1")
        await s.wait(result, timeout_s=10)
        return (await s.status())[0]


# Handlers


async def async_generator(event: Opened) -> Any:
    yield event


def generator(event: Opened) -> Any:
    yield event


@pytest.mark.parametrize("handler", [generator, async_generator])
def test_handler_with_yield_raises_when_it_is_declared(handler: Any) -> None:
    with pytest.raises(DeclarationError, match="contains yield"):
        fait.App("doors").on(Opened)(handler)


async def test_handler_that_returns_a_generator_fails(caplog: pytest.LogCaptureFixture) -> None:
    def delegate(event: Opened) -> Any:
        return generator(event)

    await handled_by(delegate)

    assert "returned a generator" in caplog.text


NO_EXCEPTIONS = [Panic("!"), GeneratorExit(), StopIteration(), SystemExit(3), asyncio.CancelledError()]


@pytest.mark.parametrize(
    ("error", "is_async"),
    [*((each, is_async) for each in NO_EXCEPTIONS for is_async in (True, False)), (KeyboardInterrupt(), False)],
    ids=repr,
)
async def test_any_error_of_a_handler_is_a_failure_of_its_event(error: BaseException, is_async: bool) -> None:
    seen = list[int]()

    def handle(event: Opened) -> None:
        seen.append(event.number)
        if event.number == 0:
            raise error

    async def handle_async(event: Opened) -> None:
        handle(event)

    started = time.monotonic()
    status = await handled_by(handle_async if is_async else handle)

    assert seen == [0, 1]
    assert status.state == "live"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("error", NO_EXCEPTIONS, ids=repr)
@pytest.mark.parametrize("keyed_by_stream", [True, False])
async def test_any_error_of_a_fold_is_a_failure_of_its_row(error: BaseException, keyed_by_stream: bool) -> None:
    class Doors(fait.ReadModel, key="id", on_failure=ONCE_THEN_SKIP):
        id: str

        if not keyed_by_stream:

            @classmethod
            def key_of(cls, event: Opened, at: fait.Envelope[Any]) -> str:
                return at.stream_id

        @classmethod
        def evolve(cls, row: "Doors | None", event: Opened, at: fait.Envelope[Any]) -> "Doors":
            if event.number == 0:
                raise error
            return Doors(id=at.stream_id)

    app = fait.App("doors")
    app.include(Opened, Doors)
    async with app.open("memory:") as s:
        for number in range(2):
            result = await s.publish(Opened(number), stream=f"door-{number}")
        await s.wait(result, timeout_s=10)
        found = await s.find(Doors)

    assert [each.id for each in found] == ["1"]


async def test_hung_handlers_do_not_time_out_another_handler() -> None:
    app, release, handled = fait.App("doors"), threading.Event(), list[int]()
    for number in range(40):

        @app.on(Opened, name=f"hung-{number}", timeout_s=60)
        def hang(event: Opened) -> None:
            release.wait(20)

    @app.on(Opened, name="quick", timeout_s=2, on_failure=ONCE_THEN_SKIP)
    def handle(event: Opened) -> None:
        handled.append(event.number)

    try:
        async with app.open("memory:") as s:
            for number in range(3):
                await s.publish(Opened(number), stream="door-1")
            await until(lambda: handled == [0, 1, 2])
            release.set()
    finally:
        release.set()


async def test_handler_is_not_called_again_while_a_call_runs_after_its_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, release, attempts = fait.App("doors"), threading.Event(), list[int]()

    @app.on(Opened, timeout_s=0.05, on_failure=fait.FailurePolicy(initial_s=0.001))
    def handle(event: Opened, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            release.wait(20)

    async with app.open("memory:") as s:
        result = await s.publish(Opened(1), stream="door-1")
        await until(lambda: "waiting for it" in caplog.text)
        assert attempts == [1]
        release.set()
        await s.wait(result, timeout_s=20)

    assert attempts == [1, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"start": "begining"}, {"start": 0}, {"on_failure": "skip"}, {"on_failure": None}, {"timeout_s": "5"},
        {"timeout_s": 0}, {"timeout_s": float("nan")}, {"batch": 1.5}, {"batch": True}, {"batch": "10"}, {"name": ""},
        {"name": 5},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_option_of_a_handler_raises(options: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        fait.App("doors").on(Opened, **options)(lambda event: None)


@pytest.mark.parametrize(
    "options",
    [{"attempts": True}, {"attempts": 1.5}, {"attempts": "3"}, {"initial_s": "1"}, {"max_s": None}],
    ids=str,
)
def test_failure_policy_with_wrong_type_raises(options: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        fait.FailurePolicy(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"run": "nowhere"}, {"lease_s": None}, {"lease_s": "5"}, {"lease_s": 0}, {"lease_s": float("nan")},
        {"accept": "handler"}, {"forget": "handler"}, {"rebuild": "handler"},
    ],
    ids=str,
)  # fmt: skip
async def test_wrong_option_of_open_raises(options: dict[str, Any]) -> None:
    with pytest.raises(fait.UsageError):
        async with fait.App("doors").open("memory:", **options):
            pass


# Checkpoints


async def test_checkpoint_of_a_skip_is_written_while_other_events_keep_arriving(store: Store) -> None:
    async def is_written() -> bool:
        await added(store.log, write("other", [new("unwanted")], "any"))
        current = await store.leases.range(RangeKey("recorder"))
        return current is not None and current.position > 0

    async with running_group(PositionRecorder(), store, lease_s=2), asyncio.timeout(10):
        while not await is_written():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# Leases


class Offline(PositionRecorder):
    """Its code reports an unavailable store."""

    async def handle(self, events: Any, context: Any) -> Outcome:
        raise StoreUnavailable("the other database is offline.")


async def test_process_that_finds_a_store_unavailable_releases_the_lease(store: Store) -> None:
    await added(store.log, write("a", [new("wanted")]))
    healthy = PositionRecorder()
    async with running_group(Offline(), store, lease_s=1) as offline:
        await until(lambda: offline.state == "failing")
        async with running_group(healthy, store, lease_s=1):
            await until(lambda: bool(healthy.seen))


async def test_stopped_group_releases_its_lease(store: Store) -> None:
    async with running_group(PositionRecorder(), store, lease_s=2) as group:
        await until(lambda: group.state == "live")

    current = await store.leases.range(RangeKey("recorder"))
    assert current is not None
    assert current.worker == ""


async def test_restart_of_a_waiting_group_does_not_look_without_a_pause(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_group(PositionRecorder(), store, lease_s=60) as owner:
        await until(lambda: owner.state == "live")
        async with running_group(PositionRecorder(), store, lease_s=4) as waiting:
            looks, ranges = list[None](), store.leases.ranges

            async def counted(subscription: str | None = None) -> Any:
                looks.append(None)
                return await ranges(subscription)

            monkeypatch.setattr(store.leases, "ranges", counted)
            waiting.restart()
            for _ in range(1000):  # turns of the event loop: without a pause there would be a look in each
                await asyncio.sleep(0)
    assert len(looks) < 10


async def test_error_in_the_state_machine_releases_the_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._subscriptions.processor.TRANSITIONS", {"acquiring": frozenset(), "working": frozenset()})
    async with running_group(PositionRecorder(), store, lease_s=2) as group:
        await until(lambda: group.error is not None)

        current = await store.leases.range(RangeKey("recorder"))
        assert current is not None
        assert current.worker == ""
        assert isinstance(group.error, AssertionError)


class FailsTogether(PositionRecorder):
    """It fails once, for a whole batch."""

    definition = PositionRecorder.definition.__class__("recorder", "reactor", ("wanted",))

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def handle(self, events: Any, context: Any) -> Outcome:
        self.sizes.append(len(events))
        if len(self.sizes) == 1:
            raise ValueError("not together")
        return Outcome(len(events))


async def test_restart_handles_events_in_batches_again(store: Store) -> None:
    await added(store.log, write("a", [new("wanted") for _ in range(5)]))
    subscription = FailsTogether()
    async with running_group(subscription, store, lease_s=2) as group:
        await until(lambda: group.position == 5)
        registration = await store.registrations.registration("recorder")
        assert registration is not None
        await store.registrations.forget("recorder")
        await store.registrations.register(registration, 0)
        group.restart()
        await until(lambda: group.position == 5)

    assert subscription.sizes == [5, 2, 3, 5]


# Several apps and processes


async def test_worker_of_a_subscription_that_is_not_registered_is_no_standby(store: Store) -> None:
    group = ProcessorGroup(PositionRecorder(), store, "me")
    group.run.is_paused = True

    assert group.follow((), (), {}) is False  # no ranges

    assert (group.state, type(group.error)) == ("failing", fait.CheckpointMismatch)


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.mark.parametrize(
    "options", [{"accept": ["handler"]}, {"forget": ["handler"]}, {"renamed": {"handler": "other"}}], ids=str
)
async def test_option_that_names_a_subscription_of_another_app_changes_nothing(
    shared_url: str, options: dict[str, Any]
) -> None:
    doors, windows = fait.App("doors"), fait.App("windows")
    doors.on(Opened, name="handler")(lambda event: None)
    windows.on(Opened, name="handler" if "accept" in options else "other")(lambda event: None)
    async with doors.open(shared_url, run="elsewhere") as s:
        before = await s.store.registrations.registration("handler")

        with pytest.raises(DeclarationError, match="belongs to the app 'doors'"):
            async with windows.open(shared_url, **options):
                pass

        assert await s.store.registrations.registration("handler") == before


async def test_what_an_opening_changes_is_recorded_once(shared_url: str) -> None:
    def doors(name: str) -> fait.App:
        app = fait.App("doors")
        app.on(Opened, name=name)(lambda event: None)

        @app.include
        class Doors(fait.ReadModel, key="door"):  # pyright: ignore[reportUnusedClass]
            door: str

            @classmethod
            def evolve(cls, row: Any, event: Opened, at: fait.Envelope) -> Any:
                return cls(door=at.stream_id)

        return app

    async with doors("first").open(shared_url, run="elsewhere"):
        pass
    for _ in range(2):
        async with doors("second").open(shared_url, run="elsewhere", renamed={"first": "second"}):
            pass
    async with doors("second").open(shared_url, run="elsewhere", rebuild=["doors"], accept=["second"]):
        pass
    for _ in range(2):
        async with doors("third").open(shared_url, run="elsewhere", forget=["second"]) as s:
            actions = await s.store.failures.actions()

    assert [(each.action, each.subscription) for each in reversed(actions)] == [
        ("rename", "first"), ("rebuild", "doors"), ("forget", "second"),
    ]  # fmt: skip
    assert {each.by.partition("@")[0] for each in actions} == {"doors"}


async def test_status_after_a_rebuild_by_another_process_shows_the_stored_position(shared_url: str) -> None:
    class Doors(fait.ReadModel, key="door"):
        door: str

        @classmethod
        def evolve(cls, row: Any, event: Opened, at: fait.Envelope) -> "Doors | None":
            return cls(door=at.stream_id)

    app = fait.App("doors")
    app.include(Doors)
    async with app.open(shared_url) as s, app.open(shared_url, run="elsewhere") as other:
        await s.wait(await s.publish(Opened(1), stream="door-1"))
        await other.rebuild(Doors)

        assert [each.position for each in await s.store.leases.ranges()] == [0]  # before the next heartbeat of `s`
        assert [each.position for each in await s.status()] == [0]


async def test_manual_clock_ends_the_delay_of_a_retry() -> None:
    app, attempts, clock = fait.App("doors"), list[int](), fait.ManualClock(START)

    @app.on(Opened, on_failure=fait.FailurePolicy(initial_s=3600, max_s=3600))
    def handle(event: Opened, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("not yet")

    async with app.open("memory:", clock=clock) as s:
        result = await s.publish(Opened(1), stream="door-1")
        await until(lambda: s._subscription_runner.groups["handle"].state == "failing")
        clock.advance(hours=1, minutes=30)
        await s.wait(result, timeout_s=20)

    assert attempts == [1, 2]


async def test_manual_clock_ends_an_outage() -> None:
    app, attempts, clock = fait.App("doors"), list[int](), fait.ManualClock(START)

    @app.on(Opened)
    def handle(event: Opened) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise fait.Unavailable("closed for lunch", retry_after_s=3600)

    async with app.open("memory:", clock=clock) as s:
        result = await s.publish(Opened(1), stream="door-1")
        await until(lambda: bool(attempts))
        await until(lambda: s._subscription_runner.groups["handle"].rests)
        clock.advance(hours=1, minutes=1)
        await s.wait(result, timeout_s=20)

    assert len(attempts) == 2


async def test_manual_clock_ends_the_lease_of_a_crashed_worker(shared_url: str) -> None:
    app, handled, clock = fait.App("doors"), list[int](), fait.ManualClock(START)
    app.on(Opened, name="handler")(lambda event: handled.append(event.number))
    async with app.open(shared_url, run="elsewhere") as web:
        await web.store.leases.heartbeat(Worker("crashed", runs={"handler": ""}))
        seen = (await web.store.leases.ranges())[0]
        assert await web.store.leases.acquire(seen, "crashed", "", web.store.log.identity.epoch_id)
        result = await web.publish(Opened(1), stream="door-1")
        async with app.open(shared_url, lease_s=3600, clock=clock) as s:
            await until(lambda: s._subscription_runner.groups["handler"].lease_expires_at > 0)
            clock.advance(hours=2)
            await s.wait(result, timeout_s=20)

    assert handled == [1]
