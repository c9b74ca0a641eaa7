"""The service of the inventory, in a process that kills itself (-9): `killed_inventory.py STORE before|after`.

It is killed before or after the first commit in which the consumer stores what it did for an order.
"""

import asyncio
import os
import signal
import sys

from examples.shop_services.inventory import inventory
from fait._store.ports.unit_of_work import RecordResult, UnitOfWork
from fait._store.sqlite.recorder import SqliteRecorder

LEASE_S = 0.3


def kill_at_commit(when: str) -> None:
    """Kill this process at the first commit with a reservation."""
    commit = SqliteRecorder.record

    async def record(recorder: SqliteRecorder, work: UnitOfWork) -> RecordResult:
        if when == "before" and work.append is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await commit(recorder, work)
        if result == "recorded" and work.append is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    SqliteRecorder.record = record  # type: ignore[method-assign]


async def main(store: str, when: str) -> None:
    kill_at_commit(when)
    async with inventory.open(store, lease_s=LEASE_S):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
