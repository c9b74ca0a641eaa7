"""The contract of snapshots and of `Log.histories`, on every backend."""

import pytest

from fait._decisions.snapshot import Snapshot
from fait._store.open import backend_names
from fait._store.ports.log import Log
from fait._store.ports.store import Store
from fait.testing.contract.store import Opener, StoreContract, added, write
from tests.contract.test_stores import Memory, Postgres, Sqlite

FIRST = Snapshot("order-1", 100, "id-100", "fold-1", '{"n": "ä😀\\u0000"}')


class Snapshots(StoreContract):
    async def test_snapshot_is_loaded_as_it_was_saved(self, store: Store) -> None:
        await store.snapshots.save_snapshot(FIRST)

        assert await store.snapshots.load_snapshots(["order-1"]) == [FIRST]

    async def test_load_snapshots_returns_the_existing_ones_of_the_streams(self, store: Store) -> None:
        others = [Snapshot(f"order-{n}", n, "id", "fold", "0") for n in range(2, 6)]
        for each in (FIRST, *others):
            await store.snapshots.save_snapshot(each)

        snapshots = await store.snapshots.load_snapshots(["order-3", "order-9", "order-1"])

        assert sorted(each.stream for each in snapshots) == ["order-1", "order-3"]
        assert await store.snapshots.load_snapshots([]) == []

    @pytest.mark.parametrize("version", [99, 100, 101])
    async def test_last_saved_snapshot_replaces_any_other(self, store: Store, version: int) -> None:
        last = Snapshot("order-1", version, f"id-{version}", "fold-2", "{}")
        await store.snapshots.save_snapshot(FIRST)
        await store.snapshots.save_snapshot(last)

        assert await store.snapshots.load_snapshots(["order-1"]) == [last]

    async def test_snapshot_exists_after_reopening(self, opener: Opener) -> None:
        async with opener() as store:
            if not store.log.features.durable:
                pytest.skip("the store is not durable")
            await store.snapshots.save_snapshot(FIRST)

        async with opener() as reopened:
            assert await reopened.snapshots.load_snapshots(["order-1"]) == [FIRST]

    async def test_histories_returns_streams_in_the_given_order(self, log: Log) -> None:
        for _ in range(3):
            await added(log, write("a"), write("b"), write("c", 2))

        histories, more = await log.histories([("c", 4), ("none", 0), ("a", 0), ("b", 3)])

        assert histories == [("c", (await log.history("c", after=4))[0]), ("a", (await log.history("a"))[0])]
        assert not more
        assert [len(events) for _, events in histories] == [2, 3]

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
    async def test_histories_can_be_continued_after_a_full_result(self, log: Log, limit: int) -> None:
        await added(log, write("a", 3), write("b", 1), write("c", 4), write("d", 2))
        remaining = [("d", 0), ("b", 0), ("a", 1), ("c", 0)]
        seen: list[tuple[str, int]] = []

        while True:
            histories, more = await log.histories(remaining, limit=limit)
            page = [(stream, version) for stream, events in histories for version, *_ in events]
            seen += page
            assert more == (len(page) == limit)
            if not more:
                break
            names = [stream for stream, _ in remaining]
            remaining = [page[-1], *remaining[names.index(page[-1][0]) + 1 :]]

        assert seen == [
            ("d", 1), ("d", 2), ("b", 1), ("a", 2), ("a", 3), ("c", 1), ("c", 2), ("c", 3), ("c", 4)
        ]  # fmt: skip
        assert await log.histories([]) == ([], False)


class TestMemorySnapshots(Memory, Snapshots): ...


class TestSqliteSnapshots(Sqlite, Snapshots): ...


class TestPostgresSnapshots(Postgres, Snapshots): ...


@pytest.mark.parametrize("backend", backend_names())
def test_every_backend_is_tested(backend: str) -> None:
    tested = [each for each in globals().values() if isinstance(each, type) and issubclass(each, Snapshots)]

    assert backend in {getattr(each, "backend", None) for each in tested}
