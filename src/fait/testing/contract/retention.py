"""The contract of `Log.expire`: old messages that every checkpoint has passed are dropped, and nothing else."""
# ruff: noqa: D102, S311 - test names replace docstrings; random numbers are seeded, not secret

import random
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fait._clock import ManualClock
from fait._errors import UsageError
from fait._events.append import AppendCondition, Appended, IdConflict, Until, VersionConflict
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import Query
from fait._events.version import Expected
from fait._store.ports.failures import FailureChange
from fait._store.ports.log import ExpireResult, Log, OldestMessage, StreamInfo
from fait._store.ports.registrations import Registration
from fait._store.ports.store import Store
from fait._store.ports.tables import Column, Table
from fait.testing.contract.failures import changing, failing, failure_of
from fait.testing.contract.leases import acquired, recorded
from fait.testing.contract.store import START, Opener, StoreContract, added, everything, new, outcome_of, write

__all__ = ["RetentionContract"]

WEEK = timedelta(days=7)


def message(type: str = "mail-wanted", **fields: Any) -> EncodedEvent:
    """Return an event that expires."""
    return msgspec.structs.replace(new(type, **fields), expires=True)


def versions_of(events: list[RecordedEvent]) -> list[tuple[str, int]]:
    """Return the stream and version of each event."""
    return [(each.stream, each.version) for each in events]


async def dropped(log: Log, clock: ManualClock, type: str = "mail-wanted", **limits: int) -> ExpireResult:
    """Drop the messages recorded before now."""
    up_to = limits.pop("up_to", await log.head())
    return await log.expire(type, clock.now(), up_to, **limits)


class RetentionContract(StoreContract):
    """The contract of `Log.expire`."""

    # What is dropped

    async def test_old_messages_are_dropped_and_other_events_are_not(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message(), new(), message()]), write("b", [message(), message("other"), new()]))
        clock.moment += WEEK
        await added(log, write("a", [message()]))
        last = (await everything(log))[-1].position

        assert (await dropped(log, clock)).dropped == 3

        remaining = await everything(log)
        assert versions_of(remaining) == [("a", 2), ("b", 2), ("b", 3), ("a", 4)]
        assert await log.head() == remaining[-1].position == last

    async def test_expire_stops_at_the_first_message_recorded_at_or_after_before(
        self, log: Log, clock: ManualClock
    ) -> None:
        for _ in range(4):
            await added(log, write("a", [message()]))
            clock.moment += timedelta(hours=1)
        await added(log, write("a"))

        result = await log.expire("mail-wanted", START + timedelta(hours=2), await log.head())

        assert (result.dropped, result.more) == (2, False)
        assert versions_of(await everything(log)) == [("a", 3), ("a", 4), ("a", 5)]

    async def test_expire_stops_at_the_position_up_to(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message() for _ in range(4)]), write("a2"))
        clock.moment += WEEK
        second = (await everything(log))[1].position

        assert (await dropped(log, clock, up_to=second)).dropped == 2

        assert versions_of(await everything(log)) == [("a", 3), ("a", 4), ("a2", 1)]

    async def test_last_event_of_a_stream_is_not_dropped(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [new(), message(), message()]), write("b", [message()]), write("c", [message()]))
        clock.moment += WEEK

        assert (await dropped(log, clock)).dropped == 1

        assert versions_of(await everything(log)) == [("a", 1), ("a", 3), ("b", 1), ("c", 1)]
        assert (await dropped(log, clock)).dropped == 0
        await added(log, write("b", [message()]))
        clock.moment += WEEK
        assert (await dropped(log, clock)).dropped == 1
        assert versions_of(await everything(log)) == [("a", 1), ("a", 3), ("c", 1), ("b", 2)]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    async def test_batches_consider_each_message_once(self, log: Log, clock: ManualClock, limit: int) -> None:
        for n in range(3):
            await added(log, write(f"single-{n}", [message()]), write("many", [message(), new("other")]))
        clock.moment += WEEK
        positions = [each.position for each in await everything(log) if each.type == "mail-wanted"]
        total, after, more, batches = 0, 0, True, 0

        while more:
            result = await dropped(log, clock, after=after, limit=limit)
            total, after, more, batches = total + result.dropped, result.position, result.more, batches + 1

        assert (total, after, batches) == (3, positions[-1], 6 // limit + 1)
        assert await dropped(log, clock, after=after) == ExpireResult(0, after, more=False)

    async def test_expire_with_limit_0_is_refused(self, log: Log, clock: ManualClock) -> None:
        with pytest.raises(UsageError):
            await dropped(log, clock, limit=0)

    async def test_expire_on_an_empty_log_drops_nothing(self, log: Log, clock: ManualClock) -> None:
        assert await dropped(log, clock) == ExpireResult(0, 0, more=False)
        assert (await log.expired_position(), await log.oldest_messages(0)) == (0, [])

    async def test_messages_after_a_checkpoint_are_not_dropped(self, store: Store, clock: ManualClock) -> None:
        log, registrations = store.log, store.registrations
        if not log.features.shared:
            pytest.skip("the store is not shared, so no other process can start a subscription")
        await added(log, write("a", [message() for _ in range(6)]), write("b"))
        clock.moment += WEEK
        positions = [each.position for each in await everything(log)]
        await registrations.register(self._registration(log, "one"), positions[3])
        await registrations.register(self._registration(log, "two"), positions[1])

        assert (await dropped(log, clock)).dropped == 2

        consumer = msgspec.structs.replace(self._registration(log, "consumer"), kind="consumer")
        await registrations.register(consumer, 0)  # its position counts messages of a broker
        table = Table("retention_rows", (Column("id", "text", False),), "id")
        await registrations.forget("two")
        await registrations.reset(self._registration(log, "three"), table, positions[2])
        assert (await dropped(log, clock)).dropped == 1
        await registrations.forget("one")
        await registrations.forget("three")
        assert (await dropped(log, clock)).dropped == 2
        assert versions_of(await everything(log)) == [("a", 6), ("b", 1)]

    async def test_messages_of_a_failed_key_and_later_ones_are_not_dropped(
        self, store: Store, clock: ManualClock
    ) -> None:
        if not store.log.features.shared:
            pytest.skip("the store is not shared, so no other process can start a subscription")
        await added(store.log, write("a", [message() for _ in range(6)]), write("b"))
        clock.moment += WEEK
        positions = [each.position for each in await everything(store.log)]
        lease = await acquired(store, "s")
        await recorded(store, failing(lease, positions[-1], failure_of("a", positions[2])))

        assert (await dropped(store.log, clock)).dropped == 2

        await recorded(store, changing(lease, positions[-1], FailureChange("a", ("retrying",), None)))
        assert (await dropped(store.log, clock)).dropped == 3

    # expired_position and oldest_messages

    async def test_expired_position_is_that_of_the_last_dropped_message(
        self, log: Log, clock: ManualClock, opener: Opener
    ) -> None:
        await added(log, write("a", [message("one"), message("two"), message("one"), new()]))
        clock.moment += WEEK
        positions = [each.position for each in await everything(log)]
        expired = list[int]()

        for type, up_to in (
            ("never", positions[3]),
            ("one", positions[0]),
            ("two", positions[3]),
            ("two", positions[3]),
        ):
            await dropped(log, clock, type, up_to=up_to)
            expired.append(await log.expired_position())
        await dropped(log, clock, "one")
        if log.features.shared:
            async with opener() as other:
                assert await other.log.expired_position() == positions[2]

        assert expired == [0, positions[0], positions[1], positions[1]]
        assert await log.expired_position() == positions[2]

    async def test_oldest_messages_has_the_first_message_of_each_type(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [new("b-type"), message("b-type"), message("c-type")]))
        clock.moment += WEEK
        await added(log, write("a", [message("a-type"), message("b-type"), message("b-type"), new()]))
        by_version = {each.version: each for each in (await log.read_stream("a"))[0]}

        def oldest(*versions: int) -> list[OldestMessage]:
            return [
                OldestMessage(by_version[v].type, by_version[v].position, by_version[v].recorded_at) for v in versions
            ]

        assert await log.oldest_messages(0) == oldest(4, 2, 3)
        assert await log.oldest_messages(by_version[2].position) == oldest(4, 5, 3)
        assert await log.oldest_messages(by_version[5].position) == oldest(6)
        assert await log.oldest_messages(by_version[6].position) == []
        await dropped(log, clock, "b-type")
        assert await log.oldest_messages(0) == oldest(4, 5, 3)

    # Readers and writers

    async def test_readers_skip_dropped_messages(self, log: Log, clock: ManualClock) -> None:
        tags = ("t:1",)
        events = [message(tags=tags) if n % 3 else new(tags=tags) for n in range(20)]
        await added(log, write("a", events))
        before = (await log.read_stream("a"))[0]
        clock.moment += WEEK
        await dropped(log, clock, up_to=before[14].position)
        remaining = [each for each in before if each.type != "mail-wanted" or each.version > 15]

        assert len(remaining) < len(before)
        assert await everything(log, limit=2) == remaining
        assert await everything(log, Query(tags=tags), limit=3) == remaining
        assert await everything(log, Query(types=("mail-wanted",))) == [e for e in remaining if e.type == "mail-wanted"]
        assert await log.find([each.id for each in before]) == remaining
        for after in (0, 1, 2, 3, 14, 19, 20):
            later = [each for each in remaining if each.version > after]
            assert (await log.read_stream("a", after=after, limit=4))[0] == later[:4]
            slices, _ = await log.history("a", after=after)
            assert [version for version, *_ in slices] == [each.version for each in later]
            assert await log.histories([("a", after)]) == ([("a", slices)] if slices else [], False)
        for version in (1, 2, 15):
            prefix = [each for each in remaining if each.version <= version]
            assert (await log.read_stream("a", until=Until(version=version)))[0] == prefix
            assert (await log.read_stream("a", until=Until(position=before[version - 1].position)))[0] == prefix

    async def test_streams_keep_their_versions(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message() for _ in range(3)]), write("b", [message()]))
        clock.moment += WEEK
        await dropped(log, clock)

        assert await log.streams() == [StreamInfo("a", 3), StreamInfo("b", 1)]
        assert await log.append([write("a", 1, 1)]) == VersionConflict("a", 1, 3)
        assert await log.append([write("a", 1, "no_stream")]) == VersionConflict("a", 0, 3)
        cases: list[tuple[Expected, int]] = [(3, 4), ("exists", 5), ("any", 6)]
        for expected, version in cases:
            assert (await added(log, write("a", 1, expected))).versions == (version,)

    async def test_positions_are_never_reused(self, log: Log, clock: ManualClock) -> None:
        rng, seen = random.Random(5), list[int]()
        for _ in range(40):
            await added(log, write(f"s-{rng.randrange(3)}", [message(), *([new()] if rng.random() < 0.3 else [])]))
            clock.moment += timedelta(hours=1)
            seen += [each.position for each in await everything(log) if not seen or each.position > seen[-1]]
            await dropped(log, clock)
            assert await log.head() == seen[-1]

        assert len(seen) == len(set(seen)) > 40

    async def test_ids_of_expiring_and_other_events_are_unique(self, log: Log) -> None:
        event, mail = new(), message()
        await added(log, write("a", [event]), write("b", [mail]))
        as_message = msgspec.structs.replace(event, expires=True)
        as_event = msgspec.structs.replace(mail, expires=False)

        assert outcome_of(await log.append([write("a", [as_message])])) == "repeated"
        assert outcome_of(await log.append([write("b", [as_event])])) == "repeated"
        for duplicate in (as_message, as_event):
            assert await log.append([write("c", [duplicate])]) == IdConflict(duplicate.id)
            assert await log.append([write("c", [new(), duplicate])]) == IdConflict(duplicate.id)
            assert await log.append([write("c", [new() for _ in range(600)] + [duplicate])]) == IdConflict(duplicate.id)
        assert len(await everything(log)) == 2

    async def test_repeated_append_is_recognized_until_one_of_its_events_is_dropped(
        self, log: Log, clock: ManualClock
    ) -> None:
        mixed, messages = [message(), new(), message(), new()], [message(), message()]
        await added(log, write("mixed", mixed), write("messages", messages))
        await added(log, write("messages"))
        assert outcome_of(await log.append([write("mixed", mixed)])) == "repeated"
        clock.moment += WEEK
        await dropped(log, clock)

        assert await log.append([write("mixed", mixed)]) == IdConflict(mixed[1].id)
        assert outcome_of(await log.append([write("mixed", [mixed[3]])])) == "repeated"
        assert outcome_of(await log.append([write("messages", messages)])) == "appended"

    async def test_messages_of_a_large_append_expire(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message(tags=("t:1",)) for _ in range(700)]), write("b", [message(), new()]))
        clock.moment += WEEK

        assert (await dropped(log, clock)).dropped == 700

        assert versions_of(await everything(log)) == [("a", 700), ("b", 2)]
        assert len(await everything(log, Query(tags=("t:1",)))) == 1

    async def test_condition_sees_messages_until_they_are_dropped(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message(tags=("t:1",)), message(tags=("t:1",))]))
        condition = AppendCondition((Query(tags=("t:1",)),), 0)
        assert outcome_of(await log.append([write("b")], condition)) == "condition failed"
        await added(log, write("a"))
        clock.moment += WEEK
        await dropped(log, clock)

        assert isinstance(await log.append([write("b")], condition), Appended)

    @staticmethod
    def _registration(log: Log, name: str) -> Registration:
        return Registration(name, "app", "reactor", "", (), log.identity.log_id, log.identity.epoch_id)
