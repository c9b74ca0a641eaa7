"""A worker that is stopped inside the transaction of a handler's statements is replaced like any other."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

import fait
from fait._store.postgres.recorder import IDLE_TIMEOUT_MS, PostgresRecorder
from fait._subscriptions.processor_group import LEASE_DURATION_S

pytestmark = pytest.mark.anyio


@fait.event("stopped.added")
class Added:
    number: int


app = fait.App("stopped")
app.include(Added)


@app.on(Added, start="beginning")
async def count(event: Added, ctx: fait.Context) -> None:
    ctx.execute("INSERT INTO counts VALUES ($1)", event.number)


async def run_and_stop(url: str) -> None:
    """Run the app; stop this process when it has locked the row of the range, before the statement."""
    move = PostgresRecorder._move

    async def move_and_stop(recorder: PostgresRecorder, connection: object, work: object) -> bool:
        moved = await move(recorder, connection, work)  # type: ignore[arg-type]
        print("stopped", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        return moved

    PostgresRecorder._move = move_and_stop  # type: ignore[method-assign,assignment]
    async with app.open(url):
        await asyncio.Event().wait()


def test_idle_timeout_of_a_handler_transaction_is_shorter_than_the_default_lease() -> None:
    assert IDLE_TIMEOUT_MS < 1000 * LEASE_DURATION_S


async def test_worker_stopped_in_a_handler_transaction_is_replaced_and_each_effect_happens_once(
    postgres_url: Callable[[], str],
) -> None:
    url = postgres_url()
    schema = url.partition("schema=")[2]
    async with app.open(url, run="elsewhere") as s:
        result = await s.publish(Added(1), stream="stopped-1")
        connection = await asyncpg.connect(url.partition("?")[0])
        await connection.execute(f"CREATE TABLE {schema}.counts (number bigint)")
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.test_stopped_worker", url, stdout=PIPE, cwd=Path(__file__).parents[2]
        )
        assert worker.stdout is not None
        try:
            async with asyncio.timeout(30):
                await worker.stdout.readline()
            started = time.monotonic()
            async with app.open(url) as other:
                await other.wait(result, timeout_s=60)
            print(f"replaced after {time.monotonic() - started:.1f} s")
            assert await connection.fetchval(f"SELECT count(*) FROM {schema}.counts") == 1
        finally:
            worker.kill()
            await worker.wait()
            await connection.close()


if __name__ == "__main__":
    asyncio.run(run_and_stop(sys.argv[1]))
