"""Each flush runs in a task of its own: timeouts in it end only the flush, and a canceled caller ends only itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import pytest

from fait._errors import StoreUnavailable
from fait._store.group_commit import AppendOutcome, GroupCommit, PendingAppend
from fait._store.open import open_store
from fait.testing.contract.store import added, everything
from fait.testing.contract.store import write as stored_write
from tests.store.group_commit_harness import Harness, position_of, results_of, turn, write

SHORT_S = 0.01


async def timeout_block() -> None:
    async with asyncio.timeout(SHORT_S):
        await asyncio.Event().wait()


async def wait_for() -> None:
    await asyncio.wait_for(asyncio.Event().wait(), SHORT_S)


async def task_group() -> None:
    async def fail() -> None:
        raise TimeoutError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            group.create_task(fail())
    except ExceptionGroup:
        raise TimeoutError from None


TIMEOUTS = pytest.mark.parametrize("time_out", [timeout_block, wait_for, task_group])


class TimingOut:
    """A backend whose flushes call a function that raises `TimeoutError`, and then succeed.

    Attributes:
        tasks: the task of each flush.
    """

    def __init__(self, time_out: Callable[[], Awaitable[None]]) -> None:
        self.tasks: list[asyncio.Task[object] | None] = []
        self._time_out = time_out

    async def flush(self, batch: Sequence[PendingAppend]) -> Sequence[AppendOutcome]:
        self.tasks.append(asyncio.current_task())
        with pytest.raises(TimeoutError):
            await self._time_out()
        return results_of(batch)


@TIMEOUTS
async def test_timeout_in_flush_that_a_caller_starts_does_not_cancel_the_caller(
    time_out: Callable[[], Awaitable[None]],
) -> None:
    backend = TimingOut(time_out)
    group_commit = GroupCommit(backend.flush)

    caller = asyncio.create_task(group_commit.append([write("a")]))

    assert await asyncio.wait_for(caller, 5) == position_of("a")
    assert caller.cancelling() == 0
    assert backend.tasks[0] not in (None, caller)


@TIMEOUTS
async def test_timeout_in_flush_of_appends_queued_meanwhile_does_not_cancel_callers(
    time_out: Callable[[], Awaitable[None]],
) -> None:
    backend = TimingOut(time_out)
    group_commit = GroupCommit(backend.flush)

    callers = [asyncio.create_task(group_commit.append([write(name)])) for name in "abc"]

    assert await asyncio.gather(*callers) == [position_of(name) for name in "abc"]
    assert len(backend.tasks) == 2
    assert not {None, *callers} & set(backend.tasks)


async def test_canceled_caller_does_not_cancel_the_flush() -> None:
    harness = Harness()
    await harness.append(write("first"))
    canceled, other = await harness.append(write("a")), await harness.append(write("b"))
    await harness.backend.finish(0)

    canceled.cancel()
    await turn()
    assert not harness.backend.futures[1].done()
    await harness.backend.finish(1)

    assert await other == position_of("b")


async def test_canceled_flush_of_postgres_closes_its_connection(postgres_url: Callable[..., str]) -> None:
    server, _, schema = (url := postgres_url()).partition("?schema=")
    store = await open_store(url)
    await added(store.log, stored_write("a"))
    blocker, observer = await asyncpg.connect(server), await asyncpg.connect(server)
    await blocker.execute(f"BEGIN; LOCK TABLE {schema}.fait_events")
    appending = asyncio.create_task(store.log.append([stored_write("b")]))
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND $1 = ANY(pg_blocking_pids(pid))"
    async with asyncio.timeout(30):  # a statement that has timed out is sent again
        while not await observer.fetchval(waiting, blocker.get_server_pid()):  # noqa: ASYNC110
            await asyncio.sleep(0)
    await observer.close()
    for task in asyncio.all_tasks():
        if task.get_name() == "fait-group-commit":
            task.cancel()

    with pytest.raises(StoreUnavailable, match="interrupted") as error:
        await appending
    assert error.value.outcome == "unknown"
    await blocker.close()
    await added(store.log, stored_write("c"))
    assert "c" in {event.stream for event in await everything(store.log)}
    started = time.monotonic()
    await store.close()
    assert time.monotonic() - started < 2  # the driver's pool waits for no connection
