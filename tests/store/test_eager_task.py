"""Eager tasks: they start immediately, and their callbacks run as soon as they end."""

import asyncio
from typing import Any

from fait._store.postgres.eager_task import EagerTask


async def test_coroutine_starts_immediately_and_callbacks_run_in_same_iteration() -> None:
    loop, said = asyncio.get_running_loop(), list[Any]()
    answer: asyncio.Future[int] = loop.create_future()

    async def ask() -> int:
        said.append("asked")
        return await answer + 1

    prompt = EagerTask(ask())
    prompt.add_done_callback(lambda done: said.append(done.result()))
    assert said == ["asked"]

    answer.set_result(1)
    loop.call_soon(said.append, "next in this turn")
    await asyncio.sleep(0)

    assert said == ["asked", 2, "next in this turn"]
    assert (prompt.result(), prompt.exception(), prompt.cancelled()) == (2, None, False)


async def test_callback_added_after_end_runs_in_next_iteration() -> None:
    told = list[int]()

    async def known() -> int:
        return 3

    prompt = EagerTask(known())
    prompt.add_done_callback(lambda done: told.append(done.result()))

    assert told == []
    await asyncio.sleep(0)
    assert told == [3]


async def test_exception_of_awaited_future_is_raised() -> None:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[None] = loop.create_future()

    async def ask() -> None:
        try:
            await first
        except ValueError:
            await asyncio.create_task(asyncio.wait_for(asyncio.sleep(0), 1))  # a time-out needs a task
            raise KeyError from None

    prompt = EagerTask(ask())
    first.set_exception(ValueError())
    ended = asyncio.Event()
    prompt.add_done_callback(lambda _: ended.set())
    await ended.wait()

    assert isinstance(prompt.exception(), KeyError)
    assert not prompt.cancelled()


async def test_canceled_future_cancels_eager_task() -> None:
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask() -> None:
        await first

    prompt = EagerTask(ask())
    first.cancel()
    await asyncio.sleep(0)

    assert prompt.cancelled()


async def test_sleep_0_yields_to_other_tasks() -> None:
    said = list[str]()

    async def ask() -> None:
        await asyncio.sleep(0)
        said.append("asked")

    asyncio.get_running_loop().call_soon(said.append, "others")
    prompt = EagerTask(ask())
    prompt.add_done_callback(lambda _: said.append("told"))
    await asyncio.sleep(0)

    assert said == ["others", "asked", "told"]


async def test_failing_callback_does_not_stop_other_callbacks() -> None:
    loop, said, problems = asyncio.get_running_loop(), list[str](), list[object]()
    answer: asyncio.Future[None] = loop.create_future()
    loop.set_exception_handler(lambda _, told: problems.append(told["exception"]))

    async def ask() -> None:
        await answer

    prompt = EagerTask(ask())
    prompt.add_done_callback(lambda _: {}["not there"])
    prompt.add_done_callback(lambda _: said.append("told"))
    answer.set_result(None)
    await asyncio.sleep(0)
    loop.set_exception_handler(None)

    assert said == ["told"]
    assert [type(each) for each in problems] == [KeyError]
