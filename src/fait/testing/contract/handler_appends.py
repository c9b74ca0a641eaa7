"""Contract of units of work that append events of handlers."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fait._events.append import AppendCondition, Appended, ConditionFailed, IdConflict, VersionConflict
from fait._events.envelope import EncodedEvent
from fait._events.query import Query
from fait._events.version import ANY, EXISTS
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Store
from fait._store.ports.tables import Column, RowChange, Table
from fait._store.ports.unit_of_work import HandlerAppend, HandlerStatement, UnitOfWork
from fait.testing.contract.leases import NOTES, acquired, prepared, recorded, refused, state, work_of
from fait.testing.contract.store import StoreContract, added, everything, new, soon, write
from fait.testing.contract.turns import let_readers_wait

__all__ = ["HandlerAppendContract"]


class HandlerAppendContract(StoreContract):
    """The contract of `UnitOfWork.append`."""

    async def test_events_of_handlers_are_stored_with_rows_and_checkpoint(self, store: Store) -> None:
        lease = await prepared(store)
        await added(store.log, write("a", 2))
        first, second, third = new(tags=("k:1",)), new("other"), new()

        await recorded(
            store, _work(lease, ("a", first), ("b", second), ("a", third), rows=(RowChange(NOTES, [(1, "x")]),))
        )

        *_, one, two, three = await everything(store.log)
        assert [(each.stream, each.version, each.id) for each in (one, two, three)] == [
            ("a", 3, first.id), ("b", 1, second.id), ("a", 4, third.id),
        ]  # fmt: skip
        assert (one.tags, two.type) == (("k:1",), "other")
        assert await state(store) == (5, [(1, "x")], [])

    @pytest.mark.parametrize("others", ["alone", "event", "row"])
    @pytest.mark.parametrize(("token", "revision"), [(1, 0), (-1, 0), (0, 1)])
    async def test_events_under_wrong_fencing_token_or_revision_are_refused(
        self, store: Store, token: int, revision: int, others: str
    ) -> None:
        lease = await prepared(store)
        stale = Lease(
            lease.key, lease.worker, lease.fencing_token + token, 0, lease.revision + revision, lease.handled_types
        )
        await added(store.log, write("a"))

        events = [("a", new()), *([("b", new())] if others == "event" else [])]
        rows = (RowChange(NOTES, [(1, "x")]),) if others == "row" else ()

        await refused(store, _work(stale, *events, rows=rows))
        await refused(store, _work(stale, *events, expected={"a": 0}, rows=rows))  # although it is in conflict as well

        assert len(await everything(store.log)) == 1
        assert await state(store) == (0, [], [])

    @pytest.mark.parametrize("kind", ["version", "exists", "condition", "second condition", "id", "id twice"])
    async def test_conflict_of_one_event_records_nothing(self, store: Store, kind: str) -> None:
        lease = await prepared(store)
        stored = new(tags=("k:1",))
        await added(store.log, write("a", [stored]))
        event, rows = new(), (RowChange(NOTES, [(1, "x")]),)
        conflicts: dict[str, tuple[UnitOfWork, type]] = {
            "version": (_work(lease, ("b", new()), ("a", event), expected={"a": 0}, rows=rows), VersionConflict),
            "exists": (_work(lease, ("a", new()), ("b", event), expected={"b": EXISTS}, rows=rows), VersionConflict),
            "condition": (_work(lease, ("b", event), conditions=[_unless("k:1")], rows=rows), ConditionFailed),
            "second condition": (
                _work(lease, ("b", event), conditions=[_unless("k:2"), _unless("k:1")], rows=rows), ConditionFailed,
            ),
            "id": (_work(lease, ("a", new()), ("a", new(id=stored.id)), rows=rows), IdConflict),
            "id twice": (_work(lease, ("b", event), ("b", event), rows=rows), IdConflict),
        }  # fmt: skip
        work, conflict = conflicts[kind]

        assert isinstance(await store.recorder.record(work), conflict)

        assert [each.id for each in await everything(store.log)] == [stored.id]
        assert await state(store) == (0, [], [])

    async def test_conflict_names_the_id_that_is_in_use(self, store: Store) -> None:
        lease, stored, twice = await prepared(store), new(), new()
        await added(store.log, write("a", [stored]))

        results = [
            await store.recorder.record(_work(lease, ("a", new()), ("b", each), ("b", twice)))
            for each in (stored, twice)
        ]

        assert results == [IdConflict(stored.id), IdConflict(twice.id)]

    async def test_conflict_names_stream_and_versions(self, store: Store) -> None:
        lease = await prepared(store)
        await added(store.log, write("a", 3))

        for events in [("a", new())], [("b", new()), ("a", new())]:
            result = await store.recorder.record(_work(lease, *events, expected={"a": 2}))

            assert result == VersionConflict("a", 2, 3)
        assert await state(store) == (0, [], [])

    async def test_expected_versions_that_hold_are_recorded(self, store: Store) -> None:
        lease = await prepared(store)
        await added(store.log, write("a", 2), write("b"))
        events = [("a", new()), ("b", new()), ("c", new()), ("d", new()), ("a", new()), ("c", new())]

        await recorded(store, _work(lease, *events, expected={"a": 2, "b": EXISTS, "c": 0}))

        assert await store.log.versions(["a", "b", "c", "d", "e"]) == [4, 2, 2, 1, 0]

    async def test_condition_holds_for_stored_events_only(self, store: Store) -> None:
        lease = await prepared(store)
        position = (await added(store.log, write("a", [new(tags=("k:1",))]))).position

        await recorded(store, _work(lease, ("b", new(tags=("k:1",))), conditions=[_unless("k:1", position)]))

        assert len(await everything(store.log)) == 2

    async def test_events_of_failed_work_are_not_stored(self, store: Store) -> None:
        lease, missing = await prepared(store), Table("missing", (Column("id", "integer", False),), "id")

        with pytest.raises(Exception):  # noqa: B017, PT011 - any error, as long as nothing is written
            await store.recorder.record(_work(lease, ("a", new()), rows=(RowChange(missing, [(1,)]),)))

        assert await everything(store.log) == []
        assert (await state(store))[0] == 0

    async def test_events_and_statements_are_stored_together(self, store: Store) -> None:
        if not store.log.features.sql:
            pytest.skip("the store runs no SQL")
        lease = await prepared(store)
        insert = (HandlerStatement("INSERT INTO words (word, count) VALUES ('a', 1)"),)
        await added(store.log, write("a"))

        conflict = await store.recorder.record(_work(lease, ("a", new()), expected={"a": 0}, statements=insert))
        assert (conflict, await state(store)) == (VersionConflict("a", 0, 1), (0, [], []))
        await recorded(store, _work(lease, ("a", new()), expected={"a": 1}, statements=insert))

        assert await state(store) == (5, [], [("a", 1)])
        assert len(await everything(store.log)) == 2

    async def test_conflict_does_not_affect_concurrent_writes(self, store: Store) -> None:
        await added(store.log, write("a"))
        leases = [await acquired(store, f"s{number}") for number in range(6)]
        works = [
            _work(lease, (f"own-{n}", new()), ("shared", new()), ("a", new()), expected={"a": ANY if n % 2 else 0})
            for n, lease in enumerate(leases)
        ]

        results = await asyncio.gather(
            *(store.recorder.record(work) for work in works),
            *(store.log.append([write("shared")]) for _ in range(5)),
        )

        assert [each == "recorded" for each in results[:6]] == [False, True] * 3
        assert all(isinstance(each, Appended) for each in results[6:])
        assert await store.log.versions(["own-0", "own-1", "shared", "a"]) == [0, 1, 8, 4]
        positions = [each.position for each in await everything(store.log)]
        assert (len(positions), positions) == (15, sorted(positions))

    async def test_recorded_events_wake_waiting_readers(self, store: Store) -> None:
        lease = await prepared(store)
        head = (await added(store.log, write("a"))).position
        waiting = asyncio.create_task(store.log.wait_for_events(head))
        await let_readers_wait(store.log)

        await recorded(store, _work(lease, ("b", new())))

        async with soon():
            await waiting
        assert [each.stream for each in (await store.log.read(head)).events] == ["b"]

    async def test_many_events_of_handlers_are_stored_in_order(self, store: Store) -> None:
        lease = await prepared(store)
        events = [(f"s-{number % 7}", new(data=f'{{"n":{number}}}')) for number in range(700)]

        await recorded(store, _work(lease, *events))

        assert [each.id for each in await everything(store.log)] == [event.id for _, event in events]
        current = await store.leases.range(RangeKey("s"))
        assert current is not None
        assert current.position == 5

    async def test_versions_are_in_the_given_order(self, store: Store) -> None:
        await added(store.log, write("a", 2), write("b", 1))

        assert await store.log.versions(["b", "none", "a"]) == [1, 0, 2]
        assert await store.log.versions([]) == []


def _work(
    lease: Lease,
    *events: tuple[str, EncodedEvent],
    expected: Mapping[str, int] = {},
    conditions: Sequence[AppendCondition] = (),
    rows: tuple[RowChange, ...] = (),
    **options: Any,
) -> UnitOfWork:
    """Return work that moves the range to position 5 and appends events."""
    versions = {stream: expected.get(stream, ANY) for stream, _ in events}
    work = work_of(lease, 5, rows, **options)
    return UnitOfWork(work.move, work.rows, work.statements, HandlerAppend(events, versions, conditions))


def _unless(tag: str, after: int = 0) -> AppendCondition:
    return AppendCondition((Query(tags=(tag,)),), after)
