"""What every log promises of messages that expire: they are dropped in order, behind everybody, and nothing else is."""
# ruff: noqa: D102, S311 - the name of a test is its sentence; chance is seeded, not secret

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
from fait._store.ledger import Checkpoint, Column, Table
from fait._store.log import ExpireResult, Log, OldestMessage, StreamInfo
from fait._store.open import Store
from fait.testing.contract.store import START, Opener, StoreContract, added, everything, new, told, write

__all__ = ["RetentionContract"]

WEEK = timedelta(days=7)


def message(type: str = "mail-wanted", **given: Any) -> EncodedEvent:
    """An event that expires."""
    return msgspec.structs.replace(new(type, **given), expires=True)


def places(events: list[RecordedEvent]) -> list[tuple[str, int]]:
    """Streams and versions."""
    return [(each.stream, each.version) for each in events]


async def dropped(log: Log, clock: ManualClock, type: str = "mail-wanted", **limits: int) -> ExpireResult:
    """Drop what was recorded before now."""
    behind = limits.pop("behind", await log.head())
    return await log.expire(type, clock.now(), behind, **limits)


class RetentionContract(StoreContract):
    """The promises of `Log.expire`."""

    # What is dropped

    async def test_old_messages_are_dropped_and_facts_are_kept(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message(), new(), message()]), write("b", [message(), message("other"), new()]))
        clock.moment += WEEK
        await added(log, write("a", [message()]))
        last = (await everything(log))[-1].position

        assert (await dropped(log, clock)).dropped == 3

        left = await everything(log)
        assert places(left) == [("a", 2), ("b", 2), ("b", 3), ("a", 4)]
        assert await log.head() == left[-1].position == last

    async def test_a_message_younger_than_the_moment_ends_it_and_one_of_that_very_moment_is_young(
        self, log: Log, clock: ManualClock
    ) -> None:
        for _ in range(4):
            await added(log, write("a", [message()]))
            clock.moment += timedelta(hours=1)
        await added(log, write("a"))

        done = await log.expire("mail-wanted", START + timedelta(hours=2), await log.head())

        assert (done.dropped, done.more) == (2, False)
        assert places(await everything(log)) == [("a", 3), ("a", 4), ("a", 5)]

    async def test_nothing_is_dropped_beyond_the_position(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message() for _ in range(4)]), write("a2"))
        clock.moment += WEEK
        second = (await everything(log))[1].position

        assert (await dropped(log, clock, behind=second)).dropped == 2

        assert places(await everything(log)) == [("a", 3), ("a", 4), ("a2", 1)]

    async def test_the_last_event_of_each_stream_is_kept(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [new(), message(), message()]), write("b", [message()]), write("c", [message()]))
        clock.moment += WEEK

        assert (await dropped(log, clock)).dropped == 1

        assert places(await everything(log)) == [("a", 1), ("a", 3), ("b", 1), ("c", 1)]
        assert (await dropped(log, clock)).dropped == 0
        await added(log, write("b", [message()]))
        clock.moment += WEEK
        assert (await dropped(log, clock)).dropped == 1
        assert places(await everything(log)) == [("a", 1), ("a", 3), ("c", 1), ("b", 2)]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    async def test_batches_consider_each_message_once(self, log: Log, clock: ManualClock, limit: int) -> None:
        for n in range(3):
            await added(log, write(f"single-{n}", [message()]), write("many", [message(), new("other")]))
        clock.moment += WEEK
        positions = [each.position for each in await everything(log) if each.type == "mail-wanted"]
        total, after, more, batches = 0, 0, True, 0

        while more:
            done = await dropped(log, clock, after=after, limit=limit)
            total, after, more, batches = total + done.dropped, done.position, done.more, batches + 1

        assert (total, after, batches) == (3, positions[-1], 6 // limit + 1)
        assert await dropped(log, clock, after=after) == ExpireResult(0, after, more=False)

    async def test_a_batch_of_nothing_is_refused(self, log: Log, clock: ManualClock) -> None:
        with pytest.raises(UsageError):
            await dropped(log, clock, limit=0)

    async def test_on_an_empty_log_nothing_is_dropped(self, log: Log, clock: ManualClock) -> None:
        assert await dropped(log, clock) == ExpireResult(0, 0, more=False)
        assert (await log.expired_position(), await log.oldest_messages(0)) == (0, [])

    async def test_what_a_checkpoint_has_not_passed_is_kept_whatever_the_caller_believes(
        self, store: Store, clock: ManualClock
    ) -> None:
        log, ledger = store.log, store.ledger
        if not log.features.shared:
            pytest.skip("nobody else can start a subscription meanwhile")
        await added(log, write("a", [message() for _ in range(6)]), write("b"))
        clock.moment += WEEK
        place = [each.position for each in await everything(log)]
        await ledger.start_checkpoint(self._checkpoint(log, "one", place[3]))
        await ledger.start_checkpoint(self._checkpoint(log, "two", place[1]))

        assert (await dropped(log, clock)).dropped == 2

        table = Table("retention_rows", (Column("id", "text", False),), "id")
        await ledger.forget_subscription("two")
        await ledger.reset_table(table, self._checkpoint(log, "three", place[2]))
        assert (await dropped(log, clock)).dropped == 1
        await ledger.forget_subscription("one")
        await ledger.forget_subscription("three")
        assert (await dropped(log, clock)).dropped == 2
        assert places(await everything(log)) == [("a", 6), ("b", 1)]

    # What is known afterwards

    async def test_how_far_it_went_is_remembered(self, log: Log, clock: ManualClock, opener: Opener) -> None:
        await added(log, write("a", [message("one"), message("two"), message("one"), new()]))
        clock.moment += WEEK
        place = [each.position for each in await everything(log)]
        seen = list[int]()

        for type, behind in (("never", place[3]), ("one", place[0]), ("two", place[3]), ("two", place[3])):
            await dropped(log, clock, type, behind=behind)
            seen.append(await log.expired_position())
        await dropped(log, clock, "one")
        if log.features.shared:
            async with opener() as other:
                assert await other.log.expired_position() == place[2]

        assert seen == [0, place[0], place[1], place[1]]
        assert await log.expired_position() == place[2]

    async def test_the_oldest_message_of_each_type_is_known(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [new("b-type"), message("b-type"), message("c-type")]))
        clock.moment += WEEK
        await added(log, write("a", [message("a-type"), message("b-type"), message("b-type"), new()]))
        at = {each.version: each for each in await log.read_stream("a")}

        def oldest(*versions: int) -> list[OldestMessage]:
            return [OldestMessage(at[v].type, at[v].position, at[v].recorded_at) for v in versions]

        assert await log.oldest_messages(0) == oldest(4, 2, 3)
        assert await log.oldest_messages(at[2].position) == oldest(4, 5, 3)
        assert await log.oldest_messages(at[5].position) == oldest(6)
        assert await log.oldest_messages(at[6].position) == []
        await dropped(log, clock, "b-type")
        assert await log.oldest_messages(0) == oldest(4, 5, 3)

    # What readers and writers see

    async def test_readers_pass_over_what_is_gone(self, log: Log, clock: ManualClock) -> None:
        tags = ("t:1",)
        given = [message(tags=tags) if n % 3 else new(tags=tags) for n in range(20)]
        await added(log, write("a", given))
        before = await log.read_stream("a")
        clock.moment += WEEK
        await dropped(log, clock, behind=before[14].position)
        left = [each for each in before if each.type != "mail-wanted" or each.version > 15]

        assert len(left) < len(before)
        assert await everything(log, limit=2) == left
        assert await everything(log, Query(tags=tags), limit=3) == left
        assert await everything(log, Query(types=("mail-wanted",))) == [e for e in left if e.type == "mail-wanted"]
        assert await log.find([each.id for each in before]) == left
        for after in (0, 1, 2, 3, 14, 19, 20):
            beyond = [each for each in left if each.version > after]
            assert await log.read_stream("a", after=after, limit=4) == beyond[:4]
            bare = await log.history("a", after=after)
            assert [version for version, *_ in bare] == [each.version for each in beyond]
            assert await log.histories([("a", after)]) == ([("a", bare)] if bare else [])
        for version in (1, 2, 15):
            until = [each for each in left if each.version <= version]
            assert await log.read_stream("a", until=Until(version=version)) == until
            assert await log.read_stream("a", until=Until(position=before[version - 1].position)) == until

    async def test_streams_go_on_counting(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message() for _ in range(3)]), write("b", [message()]))
        clock.moment += WEEK
        await dropped(log, clock)

        assert await log.streams() == [StreamInfo("a", 3), StreamInfo("b", 1)]
        assert await log.append([write("a", 1, 1)]) == VersionConflict("a", 1, 3)
        assert await log.append([write("a", 1, "no_stream")]) == VersionConflict("a", 0, 3)
        expectations: list[tuple[Expected, int]] = [(3, 4), ("exists", 5), ("any", 6)]
        for expected, version in expectations:
            assert (await added(log, write("a", 1, expected))).versions == (version,)

    async def test_positions_are_never_given_again(self, log: Log, clock: ManualClock) -> None:
        chance, seen = random.Random(5), list[int]()
        for _ in range(40):
            await added(
                log, write(f"s-{chance.randrange(3)}", [message(), *([new()] if chance.random() < 0.3 else [])])
            )
            clock.moment += timedelta(hours=1)
            seen += [each.position for each in await everything(log) if not seen or each.position > seen[-1]]
            await dropped(log, clock)
            assert await log.head() == seen[-1]

        assert len(seen) == len(set(seen)) > 40

    async def test_an_id_belongs_to_one_event_whether_it_expires_or_not(self, log: Log) -> None:
        fact, mail = new(), message()
        await added(log, write("a", [fact]), write("b", [mail]))
        as_mail = msgspec.structs.replace(fact, expires=True)
        as_fact = msgspec.structs.replace(mail, expires=False)

        assert told(await log.append([write("a", [as_mail])])) == "repeated"
        assert told(await log.append([write("b", [as_fact])])) == "repeated"
        for taken in (as_mail, as_fact):
            assert await log.append([write("c", [taken])]) == IdConflict(taken.id)
            assert await log.append([write("c", [new(), taken])]) == IdConflict(taken.id)
            assert await log.append([write("c", [new() for _ in range(600)] + [taken])]) == IdConflict(taken.id)
        assert len(await everything(log)) == 2

    async def test_an_append_is_recognised_as_long_as_all_of_it_is_there(self, log: Log, clock: ManualClock) -> None:
        mixed, gone = [message(), new(), message(), new()], [message(), message()]
        await added(log, write("mixed", mixed), write("gone", gone))
        await added(log, write("gone"))
        assert told(await log.append([write("mixed", mixed)])) == "repeated"
        clock.moment += WEEK
        await dropped(log, clock)

        assert await log.append([write("mixed", mixed)]) == IdConflict(mixed[1].id)
        assert told(await log.append([write("mixed", [mixed[3]])])) == "repeated"
        assert told(await log.append([write("gone", gone)])) == "appended"

    async def test_many_messages_in_one_append_expire_too(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message(tags=("t:1",)) for _ in range(700)]), write("b", [message(), new()]))
        clock.moment += WEEK

        assert (await dropped(log, clock)).dropped == 700

        assert places(await everything(log)) == [("a", 700), ("b", 2)]
        assert len(await everything(log, Query(tags=("t:1",)))) == 1

    async def test_a_condition_sees_messages_as_long_as_they_are_there(self, log: Log, clock: ManualClock) -> None:
        await added(log, write("a", [message(tags=("t:1",)), message(tags=("t:1",))]))
        meant = AppendCondition((Query(tags=("t:1",)),), 0)
        assert told(await log.append([write("b")], meant)) == "condition failed"
        await added(log, write("a"))
        clock.moment += WEEK
        await dropped(log, clock)

        assert isinstance(await log.append([write("b")], meant), Appended)

    @staticmethod
    def _checkpoint(log: Log, name: str, position: int) -> Checkpoint:
        return Checkpoint(name, "app", position, log.identity.log_id, log.identity.epoch)
