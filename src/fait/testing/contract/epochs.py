"""The part of the log's contract on epochs and adoption."""
# ruff: noqa: D102 - test names replace docstrings

from datetime import timedelta

import pytest

from fait._store.open import open_admin
from fait._store.ports.log import Epoch, Log, epoch_of
from fait.testing.contract.store import START, Opener, StoreContract, added, write

__all__ = ["EpochContract"]


class EpochContract(StoreContract):
    """The contract of `Log.epochs` and of `StoreAdmin.adopt`."""

    async def test_new_log_has_one_epoch_that_started_at_0(self, log: Log) -> None:
        [epoch] = await log.epochs()
        await added(log, write("a"))

        assert (epoch.epoch_id, epoch.after_position) == (log.identity.epoch_id, 0)
        assert epoch.started_at.utcoffset() == timedelta(0)
        assert await log.epochs() == [epoch]

    async def test_adoption_appends_an_epoch_that_starts_after_the_head(self, opener: Opener, url: str) -> None:
        async with opener() as store:
            self.skip_unless_durable(store.log)
            await added(store.log, write("a", 3))
            head, before, epochs = await store.log.head(), store.log.identity, await store.log.epochs()

        adopted = await open_admin(url).adopt(in_place=True, dry_run=False)

        async with opener() as store:
            assert (adopted.previous, adopted.current, adopted.head) == (before, store.log.identity, head)
            [*earlier, last] = await store.log.epochs()
        assert earlier == epochs
        assert (last.epoch_id, last.after_position) == (adopted.current.epoch_id, head)
        assert adopted.current.log_id == before.log_id
        assert last.started_at.utcoffset() == timedelta(0)

    async def test_dry_run_of_an_adoption_starts_no_epoch(self, opener: Opener, url: str) -> None:
        async with opener() as store:
            self.skip_unless_durable(store.log)
            identity, epochs = store.log.identity, await store.log.epochs()

        await open_admin(url).adopt(in_place=True, dry_run=True)

        async with opener() as store:
            assert (store.log.identity, await store.log.epochs()) == (identity, epochs)

    async def test_event_keeps_the_epoch_in_which_it_was_recorded(self, opener: Opener, url: str) -> None:
        recorded = list[tuple[int, str]]()
        for events in (2, 0, 1, 3):  # no event is recorded in the second epoch
            async with opener() as store:
                self.skip_unless_durable(store.log)
                for _ in range(events):
                    result = await added(store.log, write("a"))
                    recorded.append((result.position, store.log.identity.epoch_id))
            await open_admin(url).adopt(in_place=True, dry_run=False)

        async with opener() as store:
            epochs = await store.log.epochs()

        assert [(position, epoch_of(epochs, position).epoch_id) for position, _ in recorded] == recorded
        assert len({each.epoch_id for each in epochs}) == len(epochs) == 5

    async def test_epoch_of_an_event_is_the_last_that_started_before_it(self) -> None:
        epochs = [Epoch(str(number), after, START) for number, after in enumerate((0, 0, 5, 5, 8))]

        assert [epoch_of(epochs, position).epoch_id for position in (1, 5, 6, 8, 9)] == ["1", "1", "3", "3", "4"]

    def skip_unless_durable(self, log: Log) -> None:
        """Skip a test of a store that does not keep its data after it is closed."""
        if not log.features.durable:
            pytest.skip("the store is not durable, as its features say")
