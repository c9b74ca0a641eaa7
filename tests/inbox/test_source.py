"""Where a consumer reads on, what it recognizes, and what it bounds."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

import fait
from fait._clock import ManualClock
from fait._delivery.brokers.memory.server import server_of
from fait._delivery.brokers.port import ConsumedMessage, Lane
from fait._delivery.brokers.rabbitmq import consumer
from fait._delivery.inbox import source
from fait._delivery.inbox.consumer import decoder_of
from fait._delivery.inbox.progress import ReceptionProgress
from fait._delivery.inbox.received_event import MAX_POSITION, ReceivedEvent, Reception, bounded_text
from fait._delivery.inbox.source import InboxSource
from fait._delivery.wire.outgoing import bucket_of, message_of
from fait._delivery.wire.provenance import sequence_of, source_text
from fait._store.ports.failures import FailureRequest
from fait._store.ports.inbox import MAX_POSITION_JUMP, MAX_TEXT_BYTES, MarkKey, MessageId
from fait._store.ports.registrations import RangeKey
from fait._store.ports.unit_of_work import RangeMove
from fait._subscriptions.runner import Runner
from fait.testing.contract.store import START
from fait.testing.contract.turns import let_readers_wait, turns
from tests.inbox.topics import (
    SHORT_RETRY,
    SOURCE,
    TIME,
    Placed,
    cloud_event,
    eventually,
    foreign,
    idle,
    new_topic,
    placed,
    until,
)
from tests.servers.nats import NatsServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.subscriptions.stepped_clock import SteppedClock

TRUSTED = Reception(frozenset(), frozenset({"log-1"}))
UNTRUSTED = Reception(frozenset(), frozenset())
LANE = Lane("orders", 2)


@fait.event("stock.wanted", expires=True)
class Wanted:
    pass


def app_of(url: str, topic: str, seen: list[Any], **options: Any) -> fait.App:
    app = fait.App("stock")
    options = {"as_": Placed, "trusts": ["log-1"], "on_failure": SHORT_RETRY, "name": "consumer", **options}

    @app.consume(topic, from_=url, **options)
    async def handle(event: Any) -> None:
        seen.append(event)

    return app


def consumed(headers: dict[str, str] | None = None, body: bytes = b"", key: str | None = "k") -> ConsumedMessage:
    return ConsumedMessage(offset="7", key=key, headers=headers or {}, body=body)


def event_of(message: ConsumedMessage, reception: Reception = UNTRUSTED) -> ReceivedEvent:
    event = reception.event(1, LANE, message, TIME)
    assert event is not None
    return event


def published(**changes: str) -> ConsumedMessage:
    message = message_of(placed(5, "order-1"), SOURCE, "order-1", 0, "ce-")
    return consumed({**message.headers, **changes}, message.body)


# Identity


def test_event_of_a_trusted_log_has_a_mark_and_no_id() -> None:
    event = event_of(published(), TRUSTED)

    assert event.mark is not None
    assert (event.mark.source, event.mark.key) == ("fait:log-1/epoch-1/relay", "order-1")
    assert (event.source_position, event.identity, event.problem) == (5, None, None)


def test_position_of_another_log_is_not_believed() -> None:
    event = event_of(published())

    assert event.mark is None
    assert event.identity == MessageId("fait:log-1/epoch-1/relay", placed(5, "order-1").id)


def test_foreign_event_has_source_and_id() -> None:
    message = cloud_event("1", "k", source="/shop")

    assert event_of(consumed(dict(message.headers), message.body)).identity == MessageId("/shop", "1")


def test_mapped_message_without_id_is_identified_by_its_place() -> None:
    reception = Reception(frozenset(), frozenset(), lambda _: fait.MappedMessage("x"))

    assert event_of(consumed(), reception).identity == MessageId("orders/2", "7")


def test_id_of_the_mapping_function_replaces_that_of_a_cloud_event_but_no_mark() -> None:
    mapping = Reception(frozenset(), frozenset(), lambda _: fait.MappedMessage("x", id="1", source="shop"))
    trusting = Reception(frozenset(), TRUSTED.trusts, mapping.mapping)

    assert event_of(published(), mapping).identity == MessageId("shop", "1")
    assert event_of(published(), trusting).mark is not None


def test_cloud_event_that_is_mapped_without_id_keeps_its_own() -> None:
    reception = Reception(frozenset(), frozenset(), lambda _: fait.MappedMessage("x"))
    message = cloud_event("1", "k", source="/shop")

    assert event_of(consumed(dict(message.headers), message.body), reception).identity == MessageId("/shop", "1")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (3, "its result must be a MappedMessage or None, not int"),
        (fait.MappedMessage("x", id=5), "id= of its MappedMessage must be a str, not int"),  # pyright: ignore[reportArgumentType]
        (fait.MappedMessage("x", key=b"k"), "key= of its MappedMessage must be a str or None, not bytes"),  # pyright: ignore[reportArgumentType]
        (fait.MappedMessage("x", source=None), "source= of its MappedMessage must be a str, not NoneType"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_result_of_a_mapping_function_with_a_wrong_type_is_an_error_of_the_function(result: Any, reason: str) -> None:
    def mapped(_: fait.ReceivedMessage) -> Any:
        return result

    event = event_of(consumed(), Reception(frozenset(), frozenset(), mapped))

    assert isinstance(event.problem, fait.UsageError)
    assert f"mapped: {reason}. The message was not handled" in str(event.problem)


def test_message_without_key_has_a_key_of_its_own() -> None:
    reception = Reception(frozenset(), frozenset(), lambda _: fait.MappedMessage("x", id="1"))

    assert event_of(consumed(key=None), reception).stream == "orders/2/7"


@pytest.mark.parametrize(
    ("message", "reception", "extra"),
    [
        (published(), Reception(frozenset(), frozenset()), {"key": "order-1", "source": "fait:log-1/epoch-1/relay"}),
        (consumed(), Reception(frozenset(), frozenset(), lambda _: fait.MappedMessage("x", key="a")), {"key": "a"}),
        (consumed(key=None), Reception(frozenset(), frozenset(), lambda _: fait.MappedMessage("x")), {}),
    ],
)
def test_key_and_source_of_a_message_are_in_its_metadata(
    message: ConsumedMessage, reception: Reception, extra: dict[str, str]
) -> None:
    event = reception.event(1, Lane("orders", 2), message, START, "order/of/its/own")

    assert event is not None
    assert event.stream == "order/of/its/own"
    assert fait.Envelope(None, event).metadata.extra == extra


@pytest.mark.parametrize("position", [0, MAX_POSITION + 1])
def test_position_that_no_log_has_makes_an_event_malformed(position: int) -> None:
    event = event_of(published(**{"ce-sequence": sequence_of(position)}), TRUSTED)

    assert isinstance(event.problem, fait.MalformedMessage)
    assert event.mark is None


@pytest.mark.parametrize("form", [list, dict[str, Any], Any], ids=str)
@pytest.mark.parametrize("depth", [101, 100_000])
def test_data_without_a_content_type_that_is_nested_too_deeply_is_malformed(form: Any, depth: int) -> None:
    headers = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}
    received = event_of(consumed(headers, b"[" * depth + b"]" * depth)).received
    assert received is not None

    with pytest.raises(fait.MalformedMessage, match="nested too deeply"):
        decoder_of(form)(received)


@pytest.mark.parametrize("floor", [5, 6, MAX_POSITION + 1])
def test_floor_that_is_not_below_the_position_makes_an_event_malformed(floor: int) -> None:
    event = event_of(published(**{"ce-faitfloor": sequence_of(floor)}), TRUSTED)

    assert isinstance(event.problem, fait.MalformedMessage)
    assert event.mark is None


@pytest.mark.parametrize(
    "message",
    [
        consumed({"content-type": "application/cloudevents+json"}, b"{"),
        consumed({"content-type": "application/cloudevents+json"}, b'{"specversion":"1.0","id":"1","type":"t"}'),
        consumed({"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}, b"\xff"),
        consumed({"content-type": "application/json"}, b"{}"),
        consumed({f"h{number}": "" for number in range(101)}),
        published(**{"ce-sequence": "five"}),
    ],
)
def test_malformed_message_is_an_event_with_its_place_as_identity(message: ConsumedMessage) -> None:
    event = event_of(message, TRUSTED)

    assert isinstance(event.problem, fait.MalformedMessage)
    assert event.identity == MessageId("orders/2", "7")
    assert event.stream == "k"


@pytest.mark.parametrize("text", ["a\0", "a" * (MAX_TEXT_BYTES + 1), "ä" * MAX_TEXT_BYTES, "\ud800"])
def test_text_that_no_primary_key_can_hold_is_hashed(text: str) -> None:
    assert bounded_text(text).startswith("sha256:")
    assert bounded_text(text) != bounded_text(text + "x")
    assert bounded_text("größe-1") == "größe-1"


# Reading


async def test_consumer_that_begins_to_trust_a_log_remembers_what_it_has_handled(tmp_path: Path) -> None:
    url, seen = f"sqlite:///{tmp_path}/stock.db", list[Any]()
    async with new_topic(f"memory:{uuid4().hex}", lanes=1) as topic:
        await topic.publish(*[placed(number, "a") for number in range(1, 4)])
        async with app_of(topic.url, topic.name, seen, trusts=[]).open(url) as s:
            await idle(s, 3)
        await topic.publish(*[placed(number, "a") for number in (1, 2, 3, 4, 2, 5)])
        async with app_of(topic.url, topic.name, seen).open(url) as s:
            await idle(s, 9)

    assert [each.number for each in seen] == [1, 2, 3, 4, 5]


async def test_own_offsets_count_and_not_what_is_acknowledged(tmp_path: Path) -> None:
    url, seen = f"sqlite:///{tmp_path}/stock.db", list[Any]()
    async with new_topic(f"memory:{uuid4().hex}", lanes=1) as topic:
        await topic.publish(*[placed(number, "a") for number in range(1, 4)])
        async with app_of(topic.url, topic.name, seen).open(url) as s:
            await idle(s, 3)
        server_of(topic.url.partition(":")[2]).acknowledge("consumer", Lane(topic.name, 0), 4)
        await topic.publish(placed(4, "a"))
        async with app_of(topic.url, topic.name, seen).open(url) as s:
            await until(lambda: len(seen) == 4)
            await idle(s, 4)
            assert (await s.status())[0].position == 4  # it has received no message again


async def test_consumer_holds_no_expiring_event_back() -> None:
    clock, seen = ManualClock(START), list[Any]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        app = app_of(topic.url, topic.name, seen)
        app.include(Wanted)
        async with app.open("memory:", clock=clock) as s:
            for _ in range(3):
                await s.publish(Wanted(), stream="mail-1")
            clock.moment += timedelta(days=30)

            assert await s._subscription_runner.retention.sweep() == 2


async def test_ids_are_forgotten_after_their_window(caplog: pytest.LogCaptureFixture) -> None:
    clock, seen = ManualClock(START), list[Any]()
    async with new_topic(f"memory:{uuid4().hex}", lanes=1) as topic:
        app = app_of(topic.url, topic.name, seen, as_=dict[str, Any], id_window_days=3)
        async with app.open("memory:", clock=clock) as s:
            for days, received in ((0, 1), (2, 2), (4, 4)):
                clock.moment = START + timedelta(days=days)
                if days == 4:
                    await topic.send([cloud_event("other", "k")])
                    await idle(s, 3)
                await topic.send([cloud_event("1", "k", f'{{"day":{days}}}')])
                await idle(s, received)

    assert [each.get("day") for each in seen] == [0, None, 4]


async def test_old_mark_below_the_floor_is_folded_and_its_event_is_still_recognized(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, seen = ManualClock(START), list[Any]()
    old = MarkKey(source_text(SOURCE), "a")
    same = next(key for key in map(str, range(10_000)) if bucket_of(key) == bucket_of("a"))
    async with (
        new_topic(f"memory:{uuid4().hex}") as topic,
        app_of(topic.url, topic.name, seen).open("memory:", clock=clock) as s,
    ):
        marks = [(old, 1), (MarkKey(old.source, same), 2)]
        await topic.publish(placed(1, "a"), placed(2, same))
        await topic.publish(placed(3, same), floor=2)
        await idle(s, 3)
        clock.advance(hours=2)  # floors of recorded messages are stored with the next record
        await topic.publish(placed(4, same), floor=3)
        await idle(s, 4)
        assert dict(await s.store.inbox.marks("consumer", [mark for mark, _ in marks])) == {old: 1, marks[1][0]: 4}
        clock.advance(days=6)
        await topic.publish(placed(5, same), floor=3)
        await idle(s, 5)
        assert await s.store.inbox.marks("consumer", [old]) == {old: 1}

        clock.advance(days=1)
        await topic.publish(placed(6, same), floor=3)
        await idle(s, 6)
        assert await s.store.inbox.marks("consumer", [old]) == {}
        with caplog.at_level(logging.WARNING):
            for received in (7, 8):
                await topic.publish(placed(1, "a"))
                await idle(s, received)
        await topic.publish(placed(7, "a"))
        await idle(s, 9)

    assert [each.number for each in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert [each.message.split(":")[0] for each in caplog.records] == [
        "event repeated although its mark is folded, and passed over"
    ]


async def test_floor_counts_only_when_all_messages_before_it_in_the_lane_are_recorded() -> None:
    progress, lane = ReceptionProgress(ManualClock(START)), Lane("orders", 0)
    events = [replace(event_of(published(), TRUSTED), position=number, lane=lane, floor=3) for number in (1, 2)]
    for each in events:
        progress.receive(lane, each.position, f"{each.position}")
    progress.accept(replace(events[0], stream="slow", mark=MarkKey("s", "slow"), floor=1), 0)
    progress.accept(events[1], 0)
    progress.floors_due = True

    def floors(frontier: int, *pending: int) -> list[int]:
        move = RangeMove(RangeKey("consumer"), 1, 1, frontier, pending)
        changes = progress.changes(move, {1, 2}, ())
        progress.recorded(move)
        return list(changes.floors.values())

    assert floors(2, 1) == []
    assert floors(2, 1) == []
    assert floors(2) == []
    assert floors(2) == [1, 3]
    assert floors(2) == []


async def test_jump_of_a_position_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    seen = list[Any]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"), placed(MAX_POSITION_JUMP + 1, "a"))
        await topic.publish(placed(2 * MAX_POSITION_JUMP + 2, "a"))
        with caplog.at_level(logging.WARNING):
            async with app_of(topic.url, topic.name, seen).open("memory:") as s:
                await idle(s, 3)

    assert [each.message.split(":")[0] for each in caplog.records] == ["position of a source jumps"]
    assert len(seen) == 3


async def test_too_many_stored_messages_stop_the_consumer_until_they_are_handled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="fait")
    monkeypatch.setattr(source, "MAX_STORED_MESSAGES", 3)
    monkeypatch.setattr(source, "MAX_BATCH", 1)
    failing, seen = [True], list[int]()
    async with new_topic(f"memory:{uuid4().hex}", lanes=1) as topic:
        app = fait.App("stock")

        @app.consume(topic.name, from_=topic.url, as_=Placed, trusts=["log-1"], on_failure=SHORT_RETRY, name="consumer")
        async def handle(event: Placed) -> None:
            if failing[0]:
                raise ValueError("out of stock")
            seen.append(event.number)

        await topic.publish(*[placed(number, "a") for number in range(1, 301)])
        async with app.open("memory:", lease_s=0.5) as s:
            await idle(s, 3)
            await until(lambda: any("no more messages" in each.getMessage() for each in caplog.records))
            assert (await s.status())[0].position < 250
            failing[0] = False
            await s.store.failures.request(FailureRequest("consumer", ("a",), "redriving", "me"))
            await until(lambda: len(seen) == 300)

    assert seen == list(range(1, 301))
    lines = [each.getMessage() for each in caplog.records if "consumer receives" in each.getMessage()]
    assert re.fullmatch(r".* no more messages.*subscription=consumer stored=\d+ maximum=3; .*parked list .*", lines[0])
    assert re.fullmatch(r".* messages again: subscription=consumer stored=[0-2]", lines[1])


async def test_unavailable_broker_is_an_outage_that_counts_no_attempt(
    nats_servers: Callable[..., NatsServer], store_url: Callable[[str], str]
) -> None:
    server, seen = nats_servers(), list[Any]()
    async with new_topic(server.url) as topic:
        await topic.publish(placed(1, "a"))
        app = app_of(topic.url, topic.name, seen)
        async with app.open(store_url("sqlite"), lease_s=0.5) as s:
            await idle(s, 1)
            server.stop()
            async with asyncio.timeout(20):
                while not isinstance((await s.status())[0].error, fait.BrokerUnavailable):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert "The consumer connects again by itself" in str((await s.status())[0].error)
            assert await s.store.failures.failures() == []
            server.start()
            async with asyncio.timeout(20):
                while (await s.status())[0].state != "live":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert [each.health for each in await s.store.leases.ranges()] == [""]
            async with new_topic(server.url) as again:
                again.name = topic.name
                await again.publish(placed(1, "a"), placed(2, "a"))
                await idle(s, 3)

    assert [each.number for each in seen] == [1, 2]


async def test_acknowledged_offset_is_that_of_the_messages_that_are_done() -> None:
    seen = list[Any]()
    async with new_topic(f"memory:{uuid4().hex}", lanes=1) as topic:
        await topic.publish(placed(1, "a"), placed(2, "b"))
        server = server_of(topic.url.partition(":")[2])
        async with app_of(topic.url, topic.name, seen).open("memory:") as s:
            await idle(s, 2)
            await topic.publish(placed(3, "a"))
            await until(lambda: server.acknowledged("consumer", Lane(topic.name, 0)) == 3)


async def test_end_of_a_lease_acknowledges_what_is_done() -> None:
    async with new_topic(f"memory:{uuid4().hex}", lanes=1) as topic:
        app, release, server = fait.App("stock"), asyncio.Event(), server_of(topic.url.partition(":")[2])

        @app.consume(topic.name, from_=topic.url, as_=Placed, trusts=["log-1"], name="consumer")
        async def handle(event: Placed) -> None:
            await release.wait()

        await topic.publish(placed(1, "a"), placed(2, "b"))
        async with app.open("memory:") as s:
            await until(lambda: server._waiting)  # the consumer waits for the next messages
            release.set()
            await idle(s, 2)

        assert server.acknowledged("consumer", Lane(topic.name, 0)) == 2


async def test_slow_key_holds_the_offset_of_its_lane_and_no_other_key() -> None:
    release, seen = asyncio.Event(), list[int]()
    async with new_topic(f"memory:{uuid4().hex}", lanes=1) as topic:
        app = fait.App("stock")

        @app.consume(topic.name, from_=topic.url, as_=Placed, trusts=["log-1"], concurrency=4, name="consumer")
        async def handle(event: Placed) -> None:
            if event.number == 2:
                await release.wait()
            seen.append(event.number)

        await topic.publish(placed(1, "a"), placed(2, "b"), placed(3, "a"), placed(4, "b"), placed(5, "c"))
        async with app.open("memory:") as s:
            await until(lambda: len(seen) == 3)

            async def are_recorded() -> bool:
                [range] = await s.store.leases.ranges("consumer")
                return (range.position, range.frontier) == (1, 5)

            await eventually(are_recorded)
            assert [each.offset for each in await s.store.inbox.offsets("consumer")] == ["0"]
            release.set()
            await idle(s, 5)
            await until(lambda: len(seen) == 5)

    assert sorted(seen[:3]) == [1, 3, 5]
    assert seen.index(1) < seen.index(3)
    assert seen[3:] == [2, 4]


async def test_done_messages_are_acknowledged_soon_at_a_broker_that_waits_for_it(
    rabbitmq_server: RabbitmqServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "MAX_UNACKNOWLEDGED", consumer.MIN_UNACKNOWLEDGED)
    count, app = 10 * consumer.MIN_UNACKNOWLEDGED, fait.App("stock")
    async with new_topic(rabbitmq_server.url, lanes=1) as topic:

        @app.consume(topic.name, from_=topic.url, as_=Placed, trusts=["log-1"], batch=10, name="consumer")
        async def handle(event: Placed) -> None:
            await turns(50)  # until then, the consumer has received what the server delivers

        await topic.publish(*[placed(position, f"{position % 7}") for position in range(1, count + 1)])
        async with app.open("memory:") as system, asyncio.timeout(source.POLL_S * 6):
            await idle(system, count)


async def test_workers_whose_heartbeats_stop_while_they_open_the_broker_make_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, send_heartbeat, opening, seen = InboxSource._connect, Runner._send_heartbeat, set[str](), list[Any]()
    clock, lease_s = SteppedClock(START), 60.0

    class SlowSource(InboxSource):
        """Opening the broker takes longer than a lease, and keeps the event loop of the worker busy."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._worker = self._lease.worker

        async def _connect(self) -> Any:
            opening.add(self._worker)
            try:
                end = clock.monotonic() + 3 * lease_s
                await until(lambda: clock.monotonic() >= end)
                return await connect(self)
            finally:
                opening.discard(self._worker)

    async def send_when_idle(self: Runner) -> None:
        while self.worker in opening:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
        await send_heartbeat(self)

    monkeypatch.setattr("fait._delivery.inbox.consumer.InboxSource", SlowSource)
    monkeypatch.setattr(Runner, "_send_heartbeat", send_when_idle)
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"), placed(2, "b"))
        app, url = app_of(topic.url, topic.name, seen), f"sqlite:///{tmp_path}/stock.db"
        async with (
            app.open(url, lease_s=lease_s, clock=clock) as system,
            app.open(url, lease_s=lease_s, clock=clock) as other,
        ):
            runners = [each._subscription_runner for each in (system, other)]
            handled = asyncio.create_task(idle(system, 2))
            while not handled.done():
                clock.advance(seconds=lease_s / 4)
                await until(
                    lambda: all(
                        each.worker in opening or each.alive_until == clock.monotonic() + lease_s for each in runners
                    )
                )
                await let_readers_wait(system.store.log)  # the workers look at the ranges
            await handled

    assert sorted(each.number for each in seen) == [1, 2]


# Declaration


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_": ""}, "from_= must be a text"),
        ({"type": [""]}, "type= takes texts"),
        ({"trusts": [1]}, "trusts= takes texts"),
        ({"as_": "orders"}, "as_= takes a class or a function"),
        ({"id_window_days": 0}, "id_window_days= is a number of days"),
        ({"concurrency": 0}, "concurrency must be"),
    ],
)
def test_invalid_option_raises(options: dict[str, Any], message: str) -> None:
    app = fait.App("stock")

    with pytest.raises(fait.DeclarationError, match=message):
        app.consume("orders", **{"from_": "memory:x", **options})(print)


async def test_other_topic_needs_an_accepted_definition(tmp_path: Path) -> None:
    url, seen = f"sqlite:///{tmp_path}/stock.db", list[Any]()
    async with new_topic(f"memory:{uuid4().hex}") as topic, new_topic(topic.url) as other:
        async with app_of(topic.url, topic.name, seen).open(url):
            pass
        changed = app_of(topic.url, other.name, seen)
        with pytest.raises(fait.DefinitionChanged, match=r"definition of consumer 'consumer' changed .*: topic "):
            async with changed.open(url):
                pass
        async with changed.open(url, accept=["consumer"]):
            pass


async def test_wait_and_settle_do_not_wait_for_consumers() -> None:
    seen = list[Any]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        app = app_of(topic.url, topic.name, seen)
        app.include(Placed)
        async with app.open("memory:") as s:
            result = await s.publish(Placed("a", 1), stream="order-1")
            await s.wait(result)
            await s.settle()
            assert [each.position for each in await s.status()] == [0]


def test_foreign_message_of_the_tests_is_json() -> None:
    message = cloud_event("1", "k", '{"n":1}')

    assert json.loads(message.body)["data"] == {"n": 1}
    assert foreign("k", {}).body == b""
