"""The contract of `Inbox`, and of the inbox in a unit of work."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from fait._store.ports.inbox import (
    MAX_TEXT_BYTES,
    FloorKey,
    InboxChanges,
    InboxMessage,
    LaneOffset,
    MarkKey,
    MarkMove,
    MessageId,
    PositionJump,
    RemovedMessages,
)
from fait._store.ports.leases import Lease
from fait._store.ports.store import Store
from fait._store.ports.tables import RowChange
from fait._store.ports.unit_of_work import HandlerAppend, UnitOfWork
from fait.testing.contract.leases import (
    NOTES,
    acquired,
    prepared,
    recorded,
    refused,
    registration_of,
    state,
    work_of,
)
from fait.testing.contract.store import StoreContract, added, new, write

__all__ = ["InboxContract"]

TIME = datetime(2024, 1, 15, 23, 59, 59, 123456, tzinfo=UTC)
AFTER = TIME + timedelta(microseconds=1)
DAY = TIME.date()
KEY = MarkKey("fait:log/epoch/relay", "größe-1")


class InboxContract(StoreContract):
    """The contract of `Inbox`, and of `Recorder` on what a consumer remembers."""

    async def test_consumer_remembers_nothing_at_first(self, store: Store) -> None:
        inbox = store.inbox

        assert await inbox.marks("s", [KEY]) == {}
        assert await inbox.folded("s") == {}
        assert await inbox.fold_marks("s", TIME, []) == 0
        assert await inbox.known_ids("s", [MessageId("shop", "1")]) == frozenset()
        assert await inbox.offsets("s") == []
        assert await inbox.messages("s", "a", after=0, limit=9) == []
        assert await inbox.count_messages("s") == 0

    async def test_marks_move_upwards_from_the_expected_position(self, store: Store) -> None:
        lease, other = await acquired(store, "s"), MarkKey(KEY.source, "b")

        await recorded(store, remembering(lease, 1, marks=[MarkMove(KEY, 0, 5)]))
        await recorded(store, remembering(lease, 2, marks=[MarkMove(KEY, 5, 7), MarkMove(other, 0, 6)]))

        assert await store.inbox.marks("s", [KEY, other, MarkKey("other", "b")]) == {KEY: 7, other: 6}
        assert await store.inbox.marks("t", [KEY]) == {}

    @pytest.mark.parametrize(("expected", "position"), [(0, 9), (4, 9), (6, 9), (5, 5), (5, 4)])
    async def test_mark_at_another_position_refuses_the_whole_work(
        self, store: Store, expected: int, position: int
    ) -> None:
        lease, other = await prepared(store), MarkKey(KEY.source, "b")
        await recorded(store, remembering(lease, 5, marks=[MarkMove(KEY, 0, 5)]))

        moves = [MarkMove(other, 0, 8), MarkMove(KEY, expected, position)]
        await refused(store, changing_all(lease, remembering(lease, 9, marks=moves)))

        assert await state(store) == (5, [], [])
        assert await store.inbox.marks("s", [KEY, other]) == {KEY: 5}

    async def test_marks_are_folded_up_to_the_floor_of_their_source_bucket_and_lane(self, store: Store) -> None:
        lease, floor = await acquired(store, "s"), FloorKey(KEY.source, 3, 1)
        lowest, low, high, kept = (MarkKey(KEY.source, each) for each in ("lowest", "low", "high", "kept"))
        others = [
            MarkMove(MarkKey("fait:log/other/relay", "a"), 0, 5, 3, 1),
            MarkMove(MarkKey(KEY.source, "bucket"), 0, 5, 4, 1),
            MarkMove(MarkKey(KEY.source, "lane"), 0, 5, 3, 2),
        ]
        folded = [MarkMove(lowest, 0, 2, 3, 1), MarkMove(low, 0, 4, 3, 1)]
        remaining = [MarkMove(high, 0, 6, 3, 1), MarkMove(kept, 0, 5, 3, 1), *others]
        await recorded(store, remembering(lease, 1, marks=[*folded, *remaining], floors={floor: 5}))

        assert await store.inbox.fold_marks("s", TIME, [kept]) == 0
        assert await store.inbox.fold_marks("t", AFTER, [kept]) == 0
        assert await store.inbox.folded("s") == {}
        assert await store.inbox.fold_marks("s", AFTER, [kept]) == 2

        marks = await store.inbox.marks("s", [each.mark for each in (*folded, *remaining)])
        assert marks == {each.mark: each.position for each in remaining}
        assert await store.inbox.folded("s") == {floor: 4}
        assert await store.inbox.folded("t") == {}

    async def test_floors_and_folded_positions_are_only_raised(self, store: Store) -> None:
        lease, floor, other = await acquired(store, "s"), FloorKey(KEY.source, 3, 1), MarkKey(KEY.source, "b")
        await recorded(store, remembering(lease, 1, marks=[MarkMove(KEY, 0, 5, 3, 1)], floors={floor: 7}))
        assert await store.inbox.fold_marks("s", AFTER, []) == 1

        moves = [MarkMove(KEY, 0, 7, 3, 1), MarkMove(other, 0, 4, 3, 1)]
        await recorded(store, remembering(lease, 2, marks=moves, floors={floor: 6}))

        assert await store.inbox.fold_marks("s", AFTER, [KEY]) == 1
        assert await store.inbox.folded("s") == {floor: 5}
        assert await store.inbox.fold_marks("s", AFTER, []) == 1
        assert await store.inbox.folded("s") == {floor: 7}

    async def test_mark_that_moves_to_another_lane_is_folded_into_the_floor_of_that_lane(self, store: Store) -> None:
        lease, former, floor = await acquired(store, "s"), FloorKey(KEY.source, 3, 1), FloorKey(KEY.source, 3, 2)
        await recorded(store, remembering(lease, 1, marks=[MarkMove(KEY, 0, 5, 3, 1)]))
        await recorded(store, remembering(lease, 2, marks=[MarkMove(KEY, 5, 6, 3, 2)], floors={former: 9}))

        assert await store.inbox.fold_marks("s", AFTER, []) == 0
        await recorded(store, remembering(lease, 3, floors={floor: 9}))
        assert await store.inbox.fold_marks("s", AFTER, []) == 1
        assert await store.inbox.folded("s") == {floor: 6}

    async def test_mark_that_is_far_above_all_others_of_its_source_is_a_jump(self, store: Store) -> None:
        lease, sources = await acquired(store, "s"), ("b", "a", "one mark", "near")
        positions = {"b": (5, 1_000, 7), "a": (2_000, 1_100), "one mark": (9_999,), "near": (1, 101)}
        moves = [MarkMove(MarkKey(each, f"{n}"), 0, n) for each in sources for n in positions[each]]
        await recorded(store, remembering(lease, 1, marks=moves))

        expected = [PositionJump(MarkKey("a", "2000"), 2_000, 1_100), PositionJump(MarkKey("b", "1000"), 1_000, 7)]
        assert await store.inbox.position_jumps("s", 100) == expected
        assert await store.inbox.position_jumps("s", 993) == []
        assert await store.inbox.position_jumps("t", 100) == []

    async def test_stored_id_refuses_the_whole_work(self, store: Store) -> None:
        lease, known, unknown = await prepared(store), MessageId("shop", "1"), MessageId("shop", "2")
        await recorded(store, remembering(lease, 5, ids=[known]))

        await refused(store, changing_all(lease, remembering(lease, 9, ids=[unknown, known])))

        assert await state(store) == (5, [], [])
        assert await store.inbox.known_ids("s", [known, unknown]) == {known}

    async def test_same_id_of_another_source_or_consumer_is_another_one(self, store: Store) -> None:
        first, second = await acquired(store, "s"), await acquired(store, "t")
        ids = [MessageId("shop", "1"), MessageId("bank", "1")]

        await recorded(store, remembering(first, 1, ids=ids))
        await recorded(store, remembering(second, 1, ids=ids[:1]))

        assert await store.inbox.known_ids("t", ids) == {ids[0]}

    async def test_ids_before_a_day_are_forgotten(self, store: Store) -> None:
        lease, old, young = await acquired(store, "s"), MessageId("shop", "1"), MessageId("shop", "2")
        await recorded(store, remembering(lease, 1, ids=[old]))
        work = remembering(lease, 2, ids=[young])
        assert work.inbox is not None
        await recorded(store, replace(work, inbox=replace(work.inbox, at=datetime(2024, 1, 16, tzinfo=UTC))))

        assert await store.inbox.forget_ids("s", DAY) == 0
        assert await store.inbox.forget_ids("t", date(2024, 1, 17)) == 0
        assert await store.inbox.forget_ids("s", date(2024, 1, 16)) == 1
        assert await store.inbox.known_ids("s", [old, young]) == {young}

    async def test_work_at_the_same_time_is_remembered_for_each_consumer(self, store: Store) -> None:
        leases = [await prepared(store), *[await acquired(store, name) for name in ("other", "third", "fourth")]]
        works = [remembering(each, 5, marks=[MarkMove(KEY, 0, 5)]) for each in leases]

        await asyncio.gather(*(store.recorder.record(each) for each in works))

        marks = [await store.inbox.marks(each.key.subscription, [KEY]) for each in leases]
        assert marks == [{KEY: 5}] * 4

    async def test_offsets_are_replaced(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await recorded(store, remembering(lease, 1, offsets=[LaneOffset("b", 1, "7"), LaneOffset("a", 10, "1-0")]))

        await recorded(store, remembering(lease, 2, offsets=[LaneOffset("b", 1, "8"), LaneOffset("b", 0, "3")]))

        expected = [LaneOffset("a", 10, "1-0"), LaneOffset("b", 0, "3"), LaneOffset("b", 1, "8")]
        assert await store.inbox.offsets("s") == expected

    async def test_offsets_of_a_fenced_owner_are_refused(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await recorded(store, remembering(lease, 1, offsets=[LaneOffset("a", 0, "1")]))

        await refused(
            store,
            remembering(replace(lease, fencing_token=lease.fencing_token - 1), 2, offsets=[LaneOffset("a", 0, "2")]),
        )

        assert await store.inbox.offsets("s") == [LaneOffset("a", 0, "1")]

    async def test_messages_are_stored_whole_in_order_and_removed(self, store: Store) -> None:
        lease = await acquired(store, "s")
        headers = {"ce-id": "1", "odd": 'nul \0, "quote", ä\n'}
        messages = [
            message(2, "a", key=None, body=b""),
            message(1, "a", headers=headers, body=bytes(range(256))),
            message(3, "b", key="nul \0"),
            message(10, "a", body=b"x" * 100_000),
        ]
        await recorded(store, remembering(lease, 1, stored=messages))

        assert await store.inbox.messages("s", "a", after=0, limit=9) == [messages[1], messages[0], messages[3]]
        assert await store.inbox.messages("s", "a", after=1, limit=1) == [messages[0]]
        assert await store.inbox.count_messages("s") == 4
        assert await store.inbox.messages("t", "a", after=0, limit=9) == []

        await recorded(store, remembering(lease, 2, removed=[RemovedMessages("a", 10), RemovedMessages("b", 3)]))
        assert await store.inbox.messages("s", "a", after=0, limit=9) == [messages[3]]
        assert await store.inbox.messages("s", "b", after=0, limit=9) == [messages[2]]

    async def test_work_of_a_former_owner_changes_nothing(self, store: Store) -> None:
        former = await acquired(store, "s")
        await acquired(store, "s")
        changes = {"marks": [MarkMove(KEY, 0, 5)], "ids": [MessageId("shop", "1")], "stored": [message(1, "a")]}

        await refused(store, remembering(former, 1, offsets=[LaneOffset("a", 0, "1")], **changes))

        assert await store.inbox.marks("s", [KEY]) == {}
        assert await store.inbox.known_ids("s", [MessageId("shop", "1")]) == frozenset()
        assert await store.inbox.offsets("s") == []
        assert await store.inbox.count_messages("s") == 0

    async def test_conflict_of_events_leaves_the_inbox_unchanged(self, store: Store) -> None:
        await added(store.log, write("order-1"))
        lease = await acquired(store, "s")
        work = remembering(lease, 5, marks=[MarkMove(KEY, 0, 5)], ids=[MessageId("shop", "1")])

        result = await store.recorder.record(replace(work, append=HandlerAppend((("order-1", new()),), {"order-1": 0})))

        assert result not in ("recorded", "refused")
        assert await store.inbox.marks("s", [KEY]) == {}
        await recorded(store, work)

    async def test_texts_of_maximum_length_are_stored(self, store: Store) -> None:
        lease, text = await acquired(store, "s"), "ä" * (MAX_TEXT_BYTES // 2)
        mark, id = MarkKey(text, text), MessageId(text, text)

        await recorded(store, remembering(lease, 1, marks=[MarkMove(mark, 0, 1)], ids=[id], stored=[message(1, text)]))

        assert await store.inbox.marks("s", [mark]) == {mark: 1}
        assert await store.inbox.known_ids("s", [id]) == {id}

    async def test_inbox_moves_with_rename_and_goes_with_forget(self, store: Store) -> None:
        lease, id, place = await acquired(store, "s"), MessageId("shop", "1"), LaneOffset("a", 0, "1")
        stored = [message(1, "a")]
        floor, marks = FloorKey(KEY.source, 3, 1), [MarkMove(KEY, 0, 5), MarkMove(MarkKey(KEY.source, "b"), 0, 4, 3, 1)]
        changes = {"marks": marks, "floors": {floor: 4}, "ids": [id], "offsets": [place], "stored": stored}
        await recorded(store, remembering(lease, 1, **changes))
        await store.inbox.fold_marks("s", AFTER, [])

        await store.registrations.accept(registration_of("s", "hash"))
        await store.registrations.rename("s", "t")
        assert await store.inbox.marks("t", [KEY]) == {KEY: 5}
        assert await store.inbox.folded("t") == {floor: 4}
        assert await store.inbox.known_ids("t", [id]) == {id}
        assert await store.inbox.offsets("t") == [place]
        assert await store.inbox.messages("t", "a", after=0, limit=9) == stored
        assert await store.inbox.offsets("s") == []

        await store.registrations.forget("t")
        assert await store.inbox.marks("t", [KEY]) == {}
        assert await store.inbox.folded("t") == {}
        assert await store.inbox.known_ids("t", [id]) == frozenset()
        assert await store.inbox.offsets("t") == []
        assert await store.inbox.count_messages("t") == 0


def remembering(lease: Lease, position: int, **changes: object) -> UnitOfWork:
    """Return work that changes what a consumer remembers."""
    return replace(work_of(lease, position), inbox=InboxChanges(at=TIME, **changes))  # pyright: ignore[reportArgumentType]


def changing_all(lease: Lease, work: UnitOfWork) -> UnitOfWork:
    """Return work with a row, an event and the offset of a lane, of which nothing must be written."""
    assert work.inbox is not None
    inbox = replace(work.inbox, offsets=[LaneOffset("a", 0, "9")])
    append = HandlerAppend((("order-1", new()),), {"order-1": 0})
    return replace(work, inbox=inbox, rows=(RowChange(NOTES, [(1, "a")]),), append=append)


def message(
    number: int,
    order_key: str,
    *,
    key: str | None = "k",
    headers: dict[str, str] | None = None,
    body: bytes = b"{}",
) -> InboxMessage:
    """Return a message to store."""
    return InboxMessage(
        number=number, order_key=order_key, topic="orders", lane=3, offset=f"{number}-0", key=key,
        headers=headers or {}, body=body, received_at=TIME,
    )  # fmt: skip
