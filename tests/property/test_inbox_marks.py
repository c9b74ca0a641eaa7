"""Random relays, consumers and brokers: marks for each source and key lose, double and reorder nothing.

Time passes only for the retention of marks, which are folded. A relay publishes events of ranges that split and merge.
It may stop between a publication and its checkpoint, and a former one may still publish from an old checkpoint. The log
may be restored, so that positions are reused. The consumer is that of fait: its `Reception`, `InboxSource` and
`ReceptionProgress` decide, on a store in memory. It may stop after each commit.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from fait._clock import ManualClock
from fait._delivery.brokers.port import BUCKETS, ConsumedBatch, ConsumedMessage, Lane, Source, lane_of
from fait._delivery.inbox import received_event
from fait._delivery.inbox.received_event import Reception
from fait._delivery.inbox.source import InboxSource, SourceSpec
from fait._delivery.wire.outgoing import bucket_of, message_of
from fait._events.envelope import RecordedEvent
from fait._store.memory.inbox import MemoryInbox, change_inbox, is_inbox_expected
from fait._store.memory.registrations import MemoryRegistrations
from fait._store.memory.state import MemoryState
from fait._store.ports.inbox import MarkKey
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import RangeKey
from fait._store.ports.unit_of_work import RangeMove
from fait.testing.contract.store import START
from tests.inbox.topics import TIME

LANES, STEPS, SEEDS = 3, 250, 15
KEYS = [key for key in map(str, range(2_000)) if bucket_of(key) in (0, 100, 200)][:12]
"""Several keys for each bucket, and one bucket for each lane."""

TOPIC = "orders"

MarkOf = Callable[[MarkKey, Lane], MarkKey]
FloorOf = Callable[[int, int], int]
"""The floor of a message, by its position and the right floor."""


class Model:
    """A log, its relay, a topic and a consumer."""

    def __init__(self, seed: int, *, restore: bool, floor: FloorOf, early_unpark: bool) -> None:
        self.chance = Random(seed)
        self.restore = restore
        self.floor = floor
        self.early_unpark = early_unpark
        self.epoch = 1
        self.facts = 0
        self.log: list[tuple[RecordedEvent, int]] = []  # with the epoch of recording
        self.ranges = {(0, BUCKETS): 0}
        self.former: list[tuple[tuple[int, int], int]] = []
        self.lanes: dict[int, list[ConsumedMessage]] = {number: [] for number in range(LANES)}
        self.parked: dict[str, list[tuple[RecordedEvent, int]]] = {}
        self.clock = ManualClock(START)
        self.state = MemoryState(self.clock)
        self.effects: list[tuple[str, int]] = []
        self.frontier = 0
        self.source: InboxSource

    def append(self) -> None:
        self.facts += 1
        position, key = len(self.log) + 1, self.chance.choice(KEYS)
        data = json.dumps({"fact": self.facts})
        event = RecordedEvent(position, key, 1, "t", 1, f"{self.epoch}-{position}", data, "{}", (), TIME, TIME)
        self.log.append((event, self.epoch))

    def publish(self, part: tuple[int, int], start: int, *, is_former: bool = False, crash: bool = False) -> None:
        """Publish some events of a range; a relay that does not crash writes its checkpoint."""
        events = [each for each in self.log if each[0].position > start][: self.chance.randint(1, 12)]
        own = [each for each in events if part[0] <= bucket_of(each[0].stream) < part[1]]
        for event, epoch in own[: self.chance.randint(0, len(own)) if crash else None]:
            if event.stream not in self.parked:
                self.send(event, epoch, part, start)
        if events and not crash and not is_former:
            for each in own:
                if each[0].stream in self.parked and each not in self.parked[each[0].stream]:
                    self.parked[each[0].stream].append(each)
            self.ranges[part] = events[-1][0].position

    def send(self, event: RecordedEvent, epoch: int, part: tuple[int, int], checkpoint: int) -> None:
        held = [each[0] for events in self.parked.values() for each in events]
        parked = [each.position for each in held if part[0] <= bucket_of(each.stream) < part[1]]
        floor = self.floor(event.position, min([checkpoint, *(each - 1 for each in parked)]))
        message = message_of(event, Source("log", f"e{epoch}", "relay"), event.stream, floor, "ce-")
        lane = self.lanes[lane_of(message.bucket, LANES)]
        lane.append(ConsumedMessage(offset=str(len(lane)), key=message.key, headers=message.headers, body=message.body))

    def park(self) -> None:
        """Refuse a key, from its next event on: those that were published before stand."""
        self.parked.setdefault(self.chance.choice(KEYS), [])

    def redrive(self) -> None:
        for key in list(self.parked):
            part = next(each for each in self.ranges if each[0] <= bucket_of(key) < each[1])
            events = self.parked.pop(key) if self.early_unpark else self.parked[key]
            for event, epoch in list(events):
                self.send(event, epoch, part, self.ranges[part])
                events.remove((event, epoch))
            self.parked.pop(key, None)

    def split_or_merge(self) -> None:
        low, high = self.chance.choice(list(self.ranges))
        if high - low > 1 and self.chance.random() < 0.5:
            middle, position = self.chance.randint(low + 1, high - 1), self.ranges.pop((low, high))
            self.ranges |= {(low, middle): position, (middle, high): position}
            return
        for other in list(self.ranges):
            if other[0] == high:
                self.ranges[low, other[1]] = min(self.ranges.pop((low, high)), self.ranges.pop(other))
                return

    def restore_log(self) -> None:
        cut = self.chance.randint(len(self.log) // 2, len(self.log))
        back = min(cut, self.chance.randint(cut // 2, cut))
        self.log = self.log[:cut]
        self.ranges = {part: min(position, back) for part, position in self.ranges.items()}
        self.parked = {key: [e for e in events if e[0].position <= back] for key, events in self.parked.items()}
        self.epoch += 1
        self.former.clear()

    async def consume(self, limit: int | None = None) -> None:
        """Work under a new lease, as after a crash: from the stored offsets on, with one record at a time."""
        lease = Lease(RangeKey("consumer"), "w", 1, self.frontier, 1, (), frontier=self.frontier)
        spec = SourceSpec("consumer", TOPIC, _no_broker, Reception(frozenset(), frozenset({"log"})), START - START)
        self.source = InboxSource(spec, MemoryInbox(self.state), MemoryRegistrations(self.state), self.clock, lease)
        self.clock.advance(hours=self.chance.choice([0, 1, 200]))
        await self.source.fold_marks()
        offsets = {each.lane: int(each.offset) for each in await MemoryInbox(self.state).offsets("consumer")}
        for lane in self.chance.sample(range(LANES), LANES):
            start = offsets.get(lane, -1) + 1
            messages = self.lanes[lane][start : None if limit is None else start + limit]
            if messages and not await self._handle(Lane(TOPIC, lane), messages):
                return

    async def _handle(self, lane: Lane, messages: Sequence[ConsumedMessage]) -> bool:
        """Handle messages. Returns False if the consumer stops before all are recorded."""
        before = self.frontier
        await self.source.accept(ConsumedBatch(lane, tuple(messages)))
        events, self.source.new = self.source.new, []
        last, crash = before + len(messages), self.chance.random() < 0.3
        for event in events[: self.chance.randint(0, len(events)) if crash else None]:
            self._record(event.position, {event.position})
            if event.problem is None:  # a malformed message has no effect
                self.effects.append((event.stream, json.loads(event.data)["fact"]))
        if not crash:
            self._record(last, set())
        return not crash

    def _record(self, frontier: int, finished: set[int]) -> None:
        move = RangeMove(RangeKey("consumer"), 1, 1, frontier)
        changes = self.source.progress.changes(move, finished, ())
        assert is_inbox_expected(self.state, "consumer", changes)
        change_inbox(self.state, "consumer", changes)
        self.source.progress.recorded(move)
        self.frontier = frontier

    async def run(self) -> tuple[int, int, int]:
        """Take random steps, then finish. Returns the numbers of lost, doubled and reordered events."""
        for step in range(STEPS):
            if self.restore and step == STEPS // 2:
                self.restore_log()
            await self._step()
        for _ in range(2):
            self.redrive()
            for _ in range(STEPS):
                for part in list(self.ranges):
                    self.publish(part, self.ranges[part])
        self.redrive()
        for _ in range(200):
            await self.consume()
        return self.wrong()

    async def _step(self) -> None:
        draw, part = self.chance.random(), self.chance.choice(list(self.ranges))
        if draw < 0.35:
            self.append()
        elif draw < 0.60:
            self.publish(part, self.ranges[part])
        elif draw < 0.66:
            self.publish(part, self.ranges[part], crash=True)
        elif draw < 0.72:
            self.split_or_merge()
        elif draw < 0.75:
            self.former.append((part, self.ranges[part]))
        elif draw < 0.78 and self.former:
            self.publish(*self.former.pop(), is_former=True)
        elif draw < 0.80:
            self.park()
        elif draw < 0.82:
            self.redrive()
        else:
            await self.consume(self.chance.randint(1, 6))

    def wrong(self) -> tuple[int, int, int]:
        facts = {json.loads(event.data)["fact"] for event, _ in self.log}
        counts = Counter(fact for _, fact in self.effects)
        order = dict[str, list[int]]()
        for key, fact in self.effects:
            order.setdefault(key, []).append(fact)
        reordered = sum(numbers != sorted(numbers) for numbers in order.values())
        return sum(not counts[each] for each in facts), sum(each > 1 for each in counts.values()), reordered


async def _no_broker() -> None:
    raise AssertionError("the model has no broker")


def planted(monkeypatch: pytest.MonkeyPatch, mark_of: MarkOf) -> None:
    """Let a consumer use other marks."""
    event_of = Reception.event

    def planted_event(self: Reception, number: int, lane: Lane, *others: object) -> object:
        event = event_of(self, number, lane, *others)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return replace(event, mark=mark_of(event.mark, lane)) if event and event.mark else event

    monkeypatch.setattr(received_event.Reception, "event", planted_event)


async def results(
    *, restore: bool, floor: FloorOf = lambda position, floor: floor, early_unpark: bool = False
) -> list[tuple[int, int, int]]:
    models = [Model(seed, restore=restore, floor=floor, early_unpark=early_unpark) for seed in range(SEEDS)]
    return [await each.run() for each in models]


@pytest.mark.parametrize("restore", [False, True])
async def test_marks_for_each_source_and_key_lose_double_and_reorder_nothing(restore: bool) -> None:
    assert set(await results(restore=restore)) == {(0, 0, 0)}


@pytest.mark.parametrize(
    "mark_of",
    [
        pytest.param(lambda mark, lane: MarkKey(mark.source, ""), id="one for each source"),
        pytest.param(lambda mark, lane: MarkKey(mark.source, f"{lane.number}"), id="one for each source and lane"),
        pytest.param(lambda mark, lane: MarkKey(mark.source, f"{bucket_of(mark.key) % 16}"), id="one for each bucket"),
    ],
)
async def test_planted_coarser_marks_lose_events(monkeypatch: pytest.MonkeyPatch, mark_of: MarkOf) -> None:
    planted(monkeypatch, mark_of)

    assert any(lost for lost, _, _ in await results(restore=False))


async def test_planted_marks_without_the_epoch_lose_events_of_a_restored_log(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda mark, lane: MarkKey("log", mark.key))

    assert any(lost for lost, _, _ in await results(restore=True))


@pytest.mark.parametrize(
    ("floor", "early_unpark"),
    [
        pytest.param(lambda position, floor: position - 1, False, id="floor taken from the message's own position"),
        pytest.param(lambda position, floor: floor, True, id="key unparked before its messages are confirmed"),
    ],
)
async def test_planted_floors_that_are_too_high_lose_events(floor: FloorOf, early_unpark: bool) -> None:
    assert any(lost for lost, _, _ in await results(restore=False, floor=floor, early_unpark=early_unpark))


async def test_marks_are_folded_in_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    folded = list[int]()
    fold_marks = MemoryInbox.fold_marks

    async def counted(self: MemoryInbox, *arguments: Any) -> int:
        folded.append(await fold_marks(self, *arguments))
        return folded[-1]

    monkeypatch.setattr(MemoryInbox, "fold_marks", counted)
    await results(restore=True)

    assert sum(folded) > SEEDS
