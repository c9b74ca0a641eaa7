"""What every backend promises about snapshots, and about reading many streams at once."""

import pytest

from fait._decisions.snapshot import Snapshot
from fait._store.ledger import Ledger
from fait._store.log import Log
from fait._store.open import BACKENDS
from fait.testing.contract.store import Opener, StoreContract, added, write
from tests.contract.test_stores import Memory, Postgres, Sqlite

FIRST = Snapshot("order-1", 100, "id-100", "fold-1", '{"n": "ä😀\\u0000"}')


class Snapshots(StoreContract):
    async def test_a_snapshot_is_given_back_as_it_was_kept(self, ledger: Ledger) -> None:
        await ledger.save_snapshot(FIRST)

        assert await ledger.load_snapshots(["order-1"]) == [FIRST]

    async def test_only_what_is_asked_for_and_there_is_given(self, ledger: Ledger) -> None:
        others = [Snapshot(f"order-{n}", n, "id", "fold", "0") for n in range(2, 6)]
        for each in (FIRST, *others):
            await ledger.save_snapshot(each)

        found = await ledger.load_snapshots(["order-3", "order-9", "order-1"])

        assert sorted(each.stream for each in found) == ["order-1", "order-3"]
        assert await ledger.load_snapshots([]) == []

    @pytest.mark.parametrize("version", [99, 100, 101])
    async def test_the_last_one_takes_the_place_of_any(self, ledger: Ledger, version: int) -> None:
        last = Snapshot("order-1", version, f"id-{version}", "fold-2", "{}")
        await ledger.save_snapshot(FIRST)
        await ledger.save_snapshot(last)

        assert await ledger.load_snapshots(["order-1"]) == [last]

    async def test_a_snapshot_outlives_the_store_that_kept_it(self, opener: Opener) -> None:
        async with opener() as store:
            if not store.log.features.durable:
                pytest.skip("this store keeps nothing")
            await store.ledger.save_snapshot(FIRST)

        async with opener() as again:
            assert await again.ledger.load_snapshots(["order-1"]) == [FIRST]

    async def test_many_streams_are_read_one_after_another(self, log: Log) -> None:
        for _ in range(3):
            await added(log, write("a"), write("b"), write("c", 2))

        found = await log.histories([("c", 4), ("none", 0), ("a", 0), ("b", 3)])

        assert found == [("c", await log.history("c", after=4)), ("a", await log.history("a"))]
        assert [len(events) for _, events in found] == [2, 3]

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
    async def test_a_full_list_can_be_gone_on_from(self, log: Log, limit: int) -> None:
        await added(log, write("a", 3), write("b", 1), write("c", 4), write("d", 2))
        rest = [("d", 0), ("b", 0), ("a", 1), ("c", 0)]
        seen: list[tuple[str, int]] = []

        while True:
            page = [
                (stream, version) for stream, events in await log.histories(rest, limit=limit) for version, *_ in events
            ]
            seen += page
            if len(page) < limit:
                break
            names = [stream for stream, _ in rest]
            rest = [page[-1], *rest[names.index(page[-1][0]) + 1 :]]

        assert seen == [
            ("d", 1), ("d", 2), ("b", 1), ("a", 2), ("a", 3), ("c", 1), ("c", 2), ("c", 3), ("c", 4)
        ]  # fmt: skip
        assert await log.histories([]) == []


class TestMemorySnapshots(Memory, Snapshots): ...


class TestSqliteSnapshots(Sqlite, Snapshots): ...


class TestPostgresSnapshots(Postgres, Snapshots): ...


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_backend_is_held_to_this(backend: str) -> None:
    held = [each for each in globals().values() if isinstance(each, type) and issubclass(each, Snapshots)]

    assert backend in {getattr(each, "backend", None) for each in held}
