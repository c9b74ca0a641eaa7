"""A consumer that the crash tests kill: each message inserts a row and appends an event.

    consuming.py STORE BROKER TOPIC [before|after NUMBER]

The process is killed, by itself, before or after the record with a number; without it, by the test.
"""

import asyncio
import os
import signal
import sys
from typing import Any

import fait
from fait._store.postgres.recorder import PostgresRecorder
from fait._store.sqlite.recorder import SqliteRecorder
from tests.inbox.topics import Placed, Reserved


def consuming_app(broker: str, topic: str) -> fait.App:
    app = fait.App("consuming")
    app.include(Reserved)

    @app.consume(topic, from_=broker, as_=Placed, trusts=["log-1"], name="consumer", concurrency=4)
    async def reserve(event: Placed, ctx: fait.Context) -> None:
        await asyncio.sleep(0.002)
        ctx.execute("INSERT INTO effects (key, number) VALUES ($1, $2)", event.order, event.number)
        await ctx.publish(Reserved(event.order, event.number), stream=f"stock-{event.order}")

    return app


async def consume(store: str, broker: str, topic: str, *death: str) -> None:
    if death:
        for cls in (PostgresRecorder, SqliteRecorder):
            _patch(cls, death[0], int(death[1]))
    async with consuming_app(broker, topic).open(store, lease_s=0.5):
        print("open", flush=True)
        await asyncio.Event().wait()


def _patch(cls: Any, when: str, number: int) -> None:
    """Let a recorder kill the process before or after a record."""
    record, count = cls.record, 0

    async def dying(self: Any, work: Any) -> Any:
        nonlocal count
        count += 1
        if count == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = await record(self, work)
        if count >= number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    cls.record = dying


if __name__ == "__main__":
    asyncio.run(consume(*sys.argv[1:]))
