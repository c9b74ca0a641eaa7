"""A worker of the fleet: URL, file of the calls, duration of a lease, and perhaps the name of a fault to plant."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

import fait
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RecordResult, UnitOfWork
from fait._subscriptions.lane import RangeLane
from fait._subscriptions.lane_worker import LaneWorker
from fait._subscriptions.record_queue import RecordQueue
from tests.fleet.app import fleet_app

RETRY_DELAY_S = 0.1


class Unfenced:
    """Records under the fencing token that a range has now, whichever worker owns it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, work: UnitOfWork) -> RecordResult:
        current = await self._store.leases.range(work.move.key)
        assert current is not None
        move = replace(work.move, fencing_token=current.fencing_token)
        return await self._store.recorder.record(replace(work, move=move))


def plant_unfenced() -> None:
    init = LaneWorker.__init__

    def unfenced(worker: Any, run: Any, lane: Any, report: Any) -> None:
        init(worker, run, lane, report)
        worker._records = RecordQueue(Unfenced(run.store), lane)

    setattr(LaneWorker, "__init__", unfenced)  # noqa: B010


def plant_forgotten_pending() -> None:
    move_to: Any = getattr(RangeLane, "_move_to")  # noqa: B009
    setattr(RangeLane, "_move_to", lambda lane, frontier, pending=(): move_to(lane, frontier))  # noqa: B010


def plant_foreign_keys() -> None:
    setattr(RangeLane, "has_slot_of", lambda lane, key: True)  # noqa: B010


FAULTS: Mapping[str, Callable[[], None]] = {
    "unfenced": plant_unfenced,
    "forgotten pending": plant_forgotten_pending,
    "foreign keys": plant_foreign_keys,
}


async def work(url: str, calls: Path, lease_s: float) -> None:
    """Run the app until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    while not stopped.is_set():
        try:
            async with fleet_app(calls).open(url, create=False, lease_s=lease_s):
                await stopped.wait()
        except fait.StoreUnavailable:  # SQLite, while a stopped process holds the write lock
            await asyncio.sleep(RETRY_DELAY_S)


if __name__ == "__main__":
    # The random failures of handlers are no news; what ends a processor or is not retried is.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s")
    target, file, lease, *faults = sys.argv[1:]
    for name in faults:
        FAULTS[name]()
    asyncio.run(work(target, Path(file), float(lease)))
