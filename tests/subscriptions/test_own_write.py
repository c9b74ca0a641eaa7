"""The events of a write are found by its last position and their number, and no other events are among them."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

import fait
from fait._events.append import Page
from fait._events.envelope import RecordedEvent
from fait._store.ports.failures import KeyFailure
from fait._subscriptions.own_write import OwnWrite
from fait._subscriptions.subscription import SubscriptionDefinition

START = datetime(2026, 1, 1, tzinfo=UTC)


class FixedLog:
    """A log with these events, as far as `OwnWrite` needs one."""

    def __init__(self, events: Sequence[RecordedEvent]) -> None:
        self.events = events

    async def head(self) -> int:
        return self.events[-1].position

    async def read(self, after: int, *, limit: int) -> Page:
        events = [each for each in self.events if each.position > after][:limit]
        return Page(events, events[-1].position if events else after, more=bool(events))


class ByStream:
    """A subscription of all events, as far as `OwnWrite` needs one."""

    definition = SubscriptionDefinition("s", "reactor")

    def keys_of(self, event: RecordedEvent) -> Collection[str]:
        return (event.stream,)


def recorded(position: int, stream: str, metadata: str = "{}", second: int = 0) -> RecordedEvent:
    at = START.replace(second=second)
    return RecordedEvent(position, stream, 1, "t", 1, str(position), "{}", metadata, (), at, at)


def failure_of(key: str) -> KeyFailure:
    return KeyFailure(
        subscription="s", key=key, slot=0, state="parked", next_position=1, attempts=1, stream=key, event_id="e",
        event_type="t", first_failed_at=START, last_failed_at=START, error_type="E", error="", location="",
        traceback="",
    )  # fmt: skip


async def failed_keys(log: FixedLog, position: int, events: int, names: str) -> str:
    """Return which of these streams, named by a letter each, have events of the write."""

    any_log: Any = log
    subscription: Any = ByStream()
    write = OwnWrite(any_log, position, events, "", subscription)
    return "".join([each for each in names if await write.has_failed(failure_of(each))])


@pytest.mark.parametrize(("events", "keys"), [(0, ""), (1, "c"), (2, "bc"), (3, "abc")])
async def test_write_has_its_last_events_also_if_all_have_one_time(events: int, keys: str) -> None:
    log = FixedLog([recorded(number, name) for number, name in enumerate("abc", 1)])

    assert await failed_keys(log, 3, events, "abc") == keys


async def test_events_of_concurrent_appends_are_not_of_the_write() -> None:
    others = [recorded(2 + number, "o", second=number % 2 + 1) for number in range(50)]
    log = FixedLog([recorded(1, "a"), *others, recorded(60, "m", '{"actor":"ada"}'), recorded(90, "b")])

    assert await failed_keys(log, 90, 2, "abmo") == "ab"


async def test_position_without_an_event_has_no_key() -> None:
    log = FixedLog([recorded(1, "a"), recorded(5, "b")])

    assert await failed_keys(log, 4, 1, "ab") == ""


@fait.event("own.counted")
class Counted:
    key: str
    number: int


class Numbers(fait.ReadModel, key="name"):
    name: str
    number: int

    @classmethod
    def key_of(cls, event: Counted, envelope: fait.Envelope) -> str:
        return event.key

    @classmethod
    def evolve(cls, row: "Numbers | None", event: Counted, envelope: fait.Envelope) -> "Numbers | None":
        if event.number == 0:
            raise ValueError("zero")
        return cls(name=event.key, number=event.number)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
async def test_first_event_of_a_large_append_is_known_to_a_token(backend: str, store_url: Callable[[str], str]) -> None:
    app = fait.App("numbers")
    app.include(Numbers)
    async with app.open(store_url(backend)) as s:
        many = [Counted("many", number) for number in range(1, 2_500)]
        result = await s.append(fait.NewEvents("numbers", [Counted("first", 0), *many]))
        row = await s.get(Numbers, "many", after=result, timeout_s=30)

        assert row is not None
        assert row.number == 2_499
        for after in (result, s.token(result)):
            with pytest.raises(fait.Stale, match="'\"first\"' is parked"):
                await s.find(Numbers, number=5, after=after)
        assert len(await s.find(Numbers, after=await s.publish(Counted("many", 1), stream="numbers"))) == 1
