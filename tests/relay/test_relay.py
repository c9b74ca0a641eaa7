"""How an app declares a relay, what its messages are, and what it does with what cannot be published."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

import fait
from fait._app import declarations_of
from fait._delivery.brokers.memory import broker as memory
from fait._delivery.brokers.memory.broker import MemoryPublisher
from fait._delivery.brokers.memory.server import server_of
from fait._delivery.brokers.port import Progress, Source
from fait._delivery.relay import range_publisher
from fait._delivery.relay import relay as relay_module
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.relay.published_position import published_positions
from fait._delivery.relay.range_publisher import RangePublisher, RoutedMessage
from fait._delivery.relay.relay import Relay
from fait._store.memory.recorder import MemoryRecorder
from fait._store.ports.failures import FailureRequest
from fait._store.ports.leases import Lease
from fait._store.ports.log import Epoch, Identity
from fait._store.ports.registrations import RangeKey
from fait._store.ports.unit_of_work import UnitOfWork
from fait.broker import Accepted, Message, PublishOutcome, Refused, Unsent
from fait.testing.in_memory import START
from tests.relay.checker import Arrival, problems
from tests.relay.published import (
    Counted,
    MemoryUnderTest,
    Noted,
    append,
    opened,
    recorded,
    relay_app,
    until,
    until_published,
)


@pytest.fixture
async def broker() -> MemoryUnderTest:
    broker = MemoryUnderTest(f"memory:{uuid4().hex}")
    await broker.prepare(topics=("orders", "notes"))
    return broker


# Declarations


def test_name_of_a_relay_is_that_of_its_topic() -> None:
    app = fait.App("shop")
    app.relay(Counted, to="memory:x", topic="orders")

    assert list(declarations_of(app).relays) == ["relay-orders"]
    assert "relay-orders" in declarations_of(app).subscriptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": ()}, "needs the events to publish"),
        ({"topic": "Orders"}, "lower-case letters"),
        ({"topic": lambda event: "orders"}, "needs a name"),
        ({"key": "customer"}, "key= must be a function"),
        ({"start": "later"}, "start must be"),
        ({"to": "nats://shop:secret@host"}, "contains a password"),
        ({"to": "nats+x://host"}, "must start with one of memory:, "),
        ({"to": 7}, "to= is the URL"),
        ({"on_failure": "park"}, "relay 'relay-orders': on_failure must be a FailurePolicy"),
    ],
)
def test_invalid_relay_is_refused(options: dict[str, Any], message: str) -> None:
    arguments = {"events": (Counted,), "to": "memory:x", "topic": "orders", **options}
    events = arguments.pop("events")

    with pytest.raises(fait.DeclarationError, match=message) as refused:
        fait.App("shop").relay(*events, **arguments)
    assert "secret" not in str(refused.value)


def test_name_of_a_relay_must_not_be_that_of_a_handler() -> None:
    app = fait.App("shop")
    app.relay(Counted, to="memory:x", topic="orders", name="same")
    app.on(Counted, name="same")(lambda event: None)

    with pytest.raises(fait.DeclarationError, match="are named 'same'"):
        declarations_of(app)
    with pytest.raises(fait.DeclarationError, match="two relays are named"):
        app.relay(Counted, to="memory:x", topic="orders", name="same")


async def test_password_in_a_variable_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "secret")
    app = relay_app("redis://:${PASSWORD}@127.0.0.1:1")
    async with app.open("memory:") as system:
        await append(system, 1)
        await until(lambda: _has_error(system, fait.BrokerUnavailable))
        [status] = await system.status()

    assert "secret" not in f"{status!r} {status.error!r} {status.error}"
    assert "The relay connects again by itself" in str(status.error)


async def test_missing_topic_is_shown_until_it_is_created(broker: MemoryUnderTest) -> None:
    async with relay_app(broker.url, topic="later").open("memory:") as system:
        await append(system, 3)
        await until(lambda: _has_error(system, fait.TopologyMismatch))
        await broker.prepare(topics=("later",))
        await system.wait(timeout_s=30)

        assert await system.store.failures.failures() == []
        assert problems(await recorded(system), await broker.arrived("later")) == []


# Messages


async def test_message_is_an_event_in_cloud_events_form(broker: MemoryUnderTest) -> None:
    async with relay_app(broker.url).open("memory:") as system:
        await system.publish(Counted(7), stream="order-1")
        await system.wait()
        [event] = [each async for each in system.events()]
        [message] = await broker.messages()
        identity = system.store.log.identity

    assert message.body == b'{"number":7}'
    assert message.key == "order-1"
    assert {name: message.headers[f"ce-{name}"] for name in ("id", "type", "source", "subject", "sequence")} == {
        "id": event.id,
        "type": "relay.counted",
        "source": f"fait:{identity.log_id}/{identity.epoch_id}/relay-orders",
        "subject": "order-1",
        "sequence": f"{event.position:020}",
    }


async def test_key_of_a_function_decides_the_order(broker: MemoryUnderTest) -> None:
    app = relay_app(broker.url, key=lambda event: f"n-{getattr(event, 'number', 0) % 3}")
    async with app.open("memory:") as system:
        await append(system, 30)
        await system.wait()
        events = [Arrival(f"n-{each.event.number % 3}", each.position) async for each in system.events()]

        assert problems(events, await broker.arrived()) == []


async def test_key_that_is_no_text_is_shown_and_nothing_is_published(broker: MemoryUnderTest) -> None:
    async with relay_app(broker.url, key=lambda event: event.number).open("memory:") as system:
        await append(system, 1)
        await until(lambda: _has_error(system, fait.UsageError))

    assert await broker.messages() == []


async def test_topic_of_a_function_may_be_none(broker: MemoryUnderTest) -> None:
    def topic(event: object) -> str | None:
        if isinstance(event, Noted):
            return "notes"
        return "orders" if isinstance(event, Counted) and event.number % 2 else None

    async with relay_app(broker.url, topic=topic).open("memory:") as system:
        for number in range(10):
            await system.append(fait.NewEvents(f"order-{number % 2}", [Counted(number), Noted("n")]))
        await system.wait()
        events = [each async for each in system.events()]
        notes = [Arrival(each.stream, each.position) for each in events if isinstance(each.event, Noted)]
        odd = [Arrival(each.stream, each.position) for each in events if getattr(each.event, "number", 0) % 2]

        assert problems(notes, await broker.arrived("notes")) == []
        assert problems(odd, await broker.arrived("orders")) == []


async def test_relay_of_a_category_publishes_all_types_of_its_streams(broker: MemoryUnderTest) -> None:
    app = fait.App("shop")
    app.include(Counted, Noted)
    app.relay(to=broker.url, topic="orders", category="order", start="beginning")
    async with app.open("memory:") as system:
        await system.append(fait.NewEvents("order-1", [Counted(1), Noted("n")]))
        await system.publish(Counted(2), stream="other-1")
        await system.wait()

    assert [each.key for each in await broker.arrived()] == ["order-1", "order-1"]


async def test_relay_starts_at_the_end_of_the_log(broker: MemoryUnderTest, store_url: Callable[[str], str]) -> None:
    url = store_url("sqlite")
    async with fait.App("shop").open(url) as system:
        pass
    plain = fait.App("shop")
    plain.include(Counted)
    async with plain.open(url) as system:
        await append(system, 3)
    async with relay_app(broker.url, start="now").open(url) as system:
        await system.publish(Counted(3), stream="order-9")
        await system.wait()

    assert [each.key for each in await broker.arrived()] == ["order-9"]


async def test_floor_of_a_message_is_below_each_parked_event(broker: MemoryUnderTest) -> None:
    async with relay_app(broker.url).open("memory:") as system:
        async with broker.limited():
            await append(system, 4, keys=2)
            await system.publish(Noted("x" * broker.limited_bytes), stream="big")
            await until(lambda: _is_parked(system, 1))
            await append(system, 4, keys=2)
            await until(lambda: _has_passed(system, 9))
        floors = [int(each.headers["ce-faitfloor"]) for each in (await broker.messages()) if _position(each) > 5]

    assert floors
    assert max(floors) == 4


def test_source_of_an_event_has_the_epoch_in_which_it_was_recorded() -> None:
    lease = Lease(RangeKey("relay-orders"), "me", 1, 0, 1, ())
    broker: Any = SimpleNamespace(features=memory.FEATURES)
    log: Any = _Log(100)
    relay = RelayDefinition(None, (Counted,), "memory:x", "orders", None, None, "now")

    publisher = RangePublisher(relay, log, lease, broker, [Epoch("old", 0, START), Epoch("new", 50, START)])

    assert [publisher.source_of(each).epoch_id for each in (50, 51)] == ["old", "new"]


# What is refused


async def test_event_whose_topic_is_invalid_is_parked(broker: MemoryUnderTest) -> None:
    def topic(event: Counted) -> str:
        return "not a topic" if event.number == 1 else "orders"

    async with relay_app(broker.url, topic=topic).open("memory:") as system:
        await append(system, 3)
        await until(lambda: _has_passed(system, 3))
        [failure] = await system.store.failures.failures()

    assert (failure.key, failure.state, failure.error.partition(":")[0]) == ("order-1", "parked", "topic")
    assert [each.key for each in await broker.arrived()] == ["order-0", "order-2"]


async def test_event_for_which_the_topic_function_raises_is_parked(broker: MemoryUnderTest) -> None:
    def topic(event: Any) -> str:
        return event.missing

    async with relay_app(broker.url, topic=topic).open("memory:") as system:
        await append(system, 1)
        await until(lambda: _is_parked(system, 1))
        [failure] = await system.store.failures.failures()

    assert (failure.error_type, failure.attempts) == ("builtins.AttributeError", 1)
    assert failure.location.endswith(" topic")
    assert "return event.missing" in failure.traceback


async def test_redriven_key_of_a_function_is_published_without_other_keys(broker: MemoryUnderTest) -> None:
    def key(event: Any) -> str:
        return "big" if isinstance(event, Noted) else f"n-{event.number % 2}"

    async with relay_app(broker.url, key=key).open("memory:") as system:
        async with broker.limited():
            await system.append(fait.NewEvents("all-1", [Counted(1), Noted("x" * broker.limited_bytes), Counted(2)]))
            await system.append(fait.NewEvents("all-1", [Noted("y"), Counted(3)]))
            await until(lambda: _has_passed(system, 5))
        await system.store.failures.request(FailureRequest("relay-orders", ("big",), "redriving", by="test"))
        await until(lambda: _is_parked(system, 0))
        events = [Arrival(key(each.event), each.position) async for each in system.events()]

        assert problems(events, await broker.arrived()) == []


class SinglePublisher:
    """A publisher whose broker accepts the messages of other keys behind a refused one."""

    refuses = b""

    def __init__(self, publisher: MemoryPublisher) -> None:
        self._publisher = publisher
        self.progress = publisher.progress
        self.close = publisher.close

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        outcomes, refused = list[PublishOutcome](), set[str]()
        for each in batch:
            if each.key in refused:
                outcomes.append(Unsent())
            elif self.refuses and self.refuses in each.body:
                refused.add(each.key)
                outcomes.append(Refused("the server does not like it", "server"))
            else:
                outcomes += await self._publisher.publish([each], after=after, upto=after)
        return outcomes


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> type[SinglePublisher]:
    connect = range_publisher.open_broker

    async def open_broker(*args: Any, **kwargs: Any) -> Any:
        broker: Any = await connect(*args, **kwargs)
        open_publisher = broker.publisher

        async def publisher(*args: Any) -> Any:
            return SinglePublisher(await open_publisher(*args))

        broker.publisher = publisher
        broker.features = replace(memory.FEATURES, batch="single", stores_position=False)
        return broker

    monkeypatch.setattr(range_publisher, "open_broker", open_broker)
    monkeypatch.setattr(SinglePublisher, "refuses", b'"refused"')
    return SinglePublisher


async def test_messages_accepted_behind_a_refused_one_are_finished_once(
    broker: MemoryUnderTest, single: type[SinglePublisher]
) -> None:
    async with relay_app(broker.url).open("memory:", run="elsewhere") as system:
        pass
    app = relay_app(broker.url)
    async with app.open("memory:") as system:
        with broker.down():
            await append(system, 3, keys=3)
            await system.append(fait.NewEvents("bad-1", [Noted("a"), Noted("refused"), Noted("b")]))
            await append(system, 3, keys=3, start=3)
            await system.append(fait.NewEvents("bad-2", [Noted("refused"), Noted("b")]))
            await append(system, 3, keys=3, start=6)
        await until(lambda: _has_passed(system, 14))
        failures = await system.store.failures.failures()
        [range] = await system.store.leases.ranges()
        events = await recorded(system)
        first = await broker.arrived()
        single.refuses = b""
        request = FailureRequest("relay-orders", ("bad-1", "bad-2"), "redriving", by="test")
        await system.store.failures.request(request)
        await until(lambda: _is_parked(system, 0))

        assert [(each.key, each.next_position) for each in failures] == [("bad-1", 5), ("bad-2", 10)]
        assert (range.position, range.frontier) == (14, 14)
        published = [each for each in events if each.key.startswith("order") or each.position == 4]
        assert problems(published, first) == []
        assert problems(events, await broker.arrived()) == []


async def failed_keys_of(*outcomes: PublishOutcome) -> list[tuple[str, int]]:
    """Return the keys that fail, with positions, of events of two streams in turn, whose messages have outcomes."""
    async with relay_app("memory:x").open("memory:", run="elsewhere") as system:
        await append(system, len(outcomes), keys=2)
        events = (await system.store.log.read(0)).events
    messages: Any = [SimpleNamespace(number=n, message=SimpleNamespace(key=e.stream)) for n, e in enumerate(events)]
    outcome = relay_module._outcome(events, messages, outcomes, None, 0)
    assert outcome.error is None
    return [(each.key, each.event.position) for each in outcome.failed_keys]


async def test_refused_message_behind_an_unsent_one_of_its_key_is_no_failure_yet() -> None:
    assert await failed_keys_of(Unsent(), *[Refused("too large", "too-large")] * 3) == [("order-1", 2)]


async def test_refused_message_behind_an_unsent_one_of_another_key_fails_its_own_key() -> None:
    assert await failed_keys_of(Accepted(), Unsent(), Refused("", ""), Accepted()) == [("order-0", 3)]


async def test_message_is_not_published_again_if_it_could_not_be_recorded(
    broker: MemoryUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, failed = MemoryRecorder.record, list[str]()

    async def failing(recorder: MemoryRecorder, work: UnitOfWork) -> Any:
        if len(failed) < 2:
            failed.append("once")
            raise ValueError("a constraint of the database")
        return await record(recorder, work)

    monkeypatch.setattr(MemoryRecorder, "record", failing)
    # Of a broker without positions, only the publisher knows what it has published.
    monkeypatch.setattr(memory, "FEATURES", replace(memory.FEATURES, stores_position=False))
    async with relay_app(broker.url).open("memory:") as system:
        await append(system, 20)
        await until_published(system, broker)

    assert len(failed) == 2


# Restored logs


EXPIRED = 10


class _Log:
    identity = Identity("log", "new")

    def __init__(self, head: int) -> None:
        self._head = head

    async def epochs(self) -> list[Epoch]:
        return [Epoch("old", 0, START), Epoch("new", 50, START)]

    async def last_position(self) -> int:
        return self._head

    async def find(self, event_ids: Sequence[str]) -> list[Any]:
        events = [SimpleNamespace(position=int(each.removeprefix("event-"))) for each in event_ids]
        return [each for each in events if EXPIRED < each.position <= self._head]

    async def read(self, after: int, *, limit: int) -> Any:
        return SimpleNamespace(events=[SimpleNamespace(position=max(after, EXPIRED) + 1)])

    async def expired_position(self) -> int:
        return EXPIRED


@pytest.mark.parametrize(
    ("stored", "position"),
    [
        (None, 0),
        (Progress("old", 40), 40),
        (Progress("old", 90), 50),
        (Progress("new", 70), 70),
        (Progress("new", 70, "event-70"), 70),
        (Progress("new", 70, "event-200"), "ahead"),  # another event is at the position
        (Progress("new", 70, "event-60"), "ahead"),  # it was appended again, at another position
        (Progress("new", 7, "event-7"), 7),  # it may have expired
        (Progress("new", 101), "ahead"),
        (Progress("unknown", 10), "ahead"),
    ],
)
async def test_published_position_is_that_of_the_current_history(stored: Progress | None, position: object) -> None:
    log: Any = _Log(100)
    try:
        progress = {} if stored is None else {0: stored}
        found: object = (await published_positions(log, progress, range(1), "memory:x", Source("log", "new", "r")))[0]
    except fait.BrokerAhead:
        found = "ahead"

    assert found == position


@pytest.mark.parametrize(("event_id", "published"), [("", [51, 52, 85]), ("event-200", [50, 51, 52, 85])])
async def test_events_with_reused_positions_are_published_after_a_restore(
    broker: MemoryUnderTest, event_id: str, published: list[int]
) -> None:
    log: Any = _Log(100)
    _store_progress(broker, Identity("log", "old"), 80, event_id)
    relay = declarations_of(relay_app(broker.url)).relays["relay-orders"]
    lease = Lease(RangeKey("relay-orders"), "me", 1, 0, 1, ())
    async with opened(broker.url) as connected:
        publisher = RangePublisher(relay, log, lease, connected, await log.epochs())
        for position in (50, 51, 52, 85):
            headers = {"ce-partitionkey": "a", "ce-sequence": str(position)}
            message = Message(key="a", bucket=1, position=position, id=str(position), headers=headers, body=b"")
            await publisher.publish([RoutedMessage(0, "orders", message)], [Unsent()], redriven=False)

    assert [each.position for each in await broker.arrived()] == published


async def test_relay_whose_broker_is_ahead_of_the_log_waits(broker: MemoryUnderTest) -> None:
    async with relay_app(broker.url).open("memory:") as system:
        _store_progress(broker, system.store.log.identity, 1_000)
        await append(system, 1)

        await until(lambda: _has_error(system, fait.BrokerAhead))
    assert await broker.messages() == []


async def test_relay_of_a_restored_log_that_has_grown_beyond_the_broker_waits(broker: MemoryUnderTest) -> None:
    async with relay_app(broker.url).open("memory:") as system:
        _store_progress(broker, system.store.log.identity, 2, str(uuid4()))
        await append(system, 5)

        await until(lambda: _has_error(system, fait.BrokerAhead))
    assert await broker.messages() == []


async def test_failed_key_waits_until_what_a_former_owner_has_published_is_recorded(broker: MemoryUnderTest) -> None:
    async with relay_app(broker.url).open("memory:", run="elsewhere") as system:
        await append(system, 20, keys=2)
        log = system.store.log
        _store_progress(broker, log.identity, 10)
        definition = declarations_of(relay_app(broker.url))
        relay = Relay(definition.relays["relay-orders"], definition.codec, system.store)
        events = (await log.read(0)).events[:1]
        tenure: Any = SimpleNamespace(
            lease=Lease(RangeKey("relay-orders"), "me", 1, 0, 1, ()), frontier=9, floor=0, on_end=lambda close: None
        )
        key = events[0].stream
        context: Any = SimpleNamespace(failed_key=key, tenure=tenure, is_concerned=key.__eq__)

        early = await relay.handle(events, context)
        nothing = await broker.messages()
        tenure.frontier = 10
        outcome = await relay.handle(events, context)

        assert (early.finished, nothing, outcome.finished) == (0, [], 1)
        assert [each.position for each in await broker.arrived()] == [1]


def _store_progress(broker: MemoryUnderTest, log: Identity, position: int, event_id: str = "") -> None:
    source = Source(log.log_id, log.epoch_id, "relay-orders")
    session = server_of(broker.url.partition(":")[2]).new_session("orders", source, range(256), 0)
    for each in session.states.values():
        each.progress = Progress(log.epoch_id, position, event_id)


async def test_key_is_redriven_in_order_after_a_restart_with_an_older_checkpoint(
    broker: MemoryUnderTest, store_url: Callable[[str], str]
) -> None:
    url = store_url("sqlite")
    async with relay_app(broker.url).open(url) as system, broker.limited():
        await system.publish(Noted("x" * broker.limited_bytes), stream="big")
        await until(lambda: _is_parked(system, 1))
        await append(system, 10, keys=1)
        await system.publish(Noted("later"), stream="big")
        await append(system, 10, keys=1, start=10)
        await until(lambda: _has_passed(system, 22))
    _set_position(url, 5)  # as if the process had died before it recorded the last calls
    async with relay_app(broker.url).open(url, run="elsewhere") as system:
        await system.store.failures.request(FailureRequest("relay-orders", ("big",), "redriving", by="test"))

    async with relay_app(broker.url).open(url) as system:
        await until(lambda: _is_parked(system, 0))
        await append(system, 1, keys=1, start=20)

        await until_published(system, broker)


def _set_position(url: str, position: int) -> None:
    import sqlite3

    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE fait_ranges SET position = ?, frontier = ?", (position, position))
    connection.close()


async def test_event_is_published_within_milliseconds(broker: MemoryUnderTest) -> None:
    async with relay_app(broker.url).open("memory:") as system:
        await append(system, 1)
        await system.wait()
        loop, delays = asyncio.get_running_loop(), list[float]()
        for number in range(20):
            started = loop.time()
            await system.publish(Counted(number), stream="order-1")
            await system.wait()
            delays.append(loop.time() - started)

    assert sorted(delays)[10] < 0.05


async def _has_error(system: fait.System, kind: type[Exception]) -> bool:
    [status] = await system.status()
    return isinstance(status.error, kind)


async def _is_parked(system: fait.System, keys: int) -> bool:
    failures = await system.store.failures.failures()
    return len(failures) == keys and all(each.state == "parked" for each in failures)


async def _has_passed(system: fait.System, position: int) -> bool:
    [status] = await system.status()
    return status.position >= position


def _position(message: Any) -> int:
    return int(message.headers["ce-sequence"])


async def test_checkpoint_of_a_relay_with_several_topics_has_no_unfinished_event_below_it(
    broker: MemoryUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves, record = list[Any](), MemoryRecorder.record

    async def recording(self: MemoryRecorder, work: UnitOfWork) -> Any:
        moves.append(work.move)
        return await record(self, work)

    monkeypatch.setattr(MemoryRecorder, "record", recording)
    topics = ("orders", "mail", "audit")
    await broker.prepare(topics=topics)

    def topic(event: Any) -> str:
        return topics[event.number % 3] if isinstance(event, Counted) else "mail"

    async with relay_app(broker.url, topic=topic).open("memory:") as system, broker.limited():
        await append(system, 200, keys=7)
        await system.publish(Noted("x" * broker.limited_bytes), stream="big")
        await append(system, 200, keys=7, start=200)
        await until(lambda: _has_passed(system, 401))

    of_relay = [each for each in moves if each.key.subscription == "relay-orders"]
    assert of_relay
    assert {each.pending for each in of_relay} == {()}
