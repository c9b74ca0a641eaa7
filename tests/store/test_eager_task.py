"""A coroutine that begins at once, and whose end is told at once."""

import asyncio
from typing import Any

from fait._store.postgres.eager_task import EagerTask


async def test_it_begins_at_once_and_tells_in_the_turn_in_which_it_can_go_on() -> None:
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


async def test_who_asks_when_it_has_ended_is_told_in_the_next_turn() -> None:
    told = list[int]()

    async def known() -> int:
        return 3

    prompt = EagerTask(known())
    prompt.add_done_callback(lambda done: told.append(done.result()))

    assert told == []
    await asyncio.sleep(0)
    assert told == [3]


async def test_it_raises_what_it_waited_for() -> None:
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


async def test_what_it_waits_for_may_be_cancelled() -> None:
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask() -> None:
        await first

    prompt = EagerTask(ask())
    first.cancel()
    await asyncio.sleep(0)

    assert prompt.cancelled()


async def test_it_lets_others_go_first() -> None:
    said = list[str]()

    async def ask() -> None:
        await asyncio.sleep(0)
        said.append("asked")

    asyncio.get_running_loop().call_soon(said.append, "others")
    prompt = EagerTask(ask())
    prompt.add_done_callback(lambda _: said.append("told"))
    await asyncio.sleep(0)

    assert said == ["others", "asked", "told"]


async def test_one_callback_that_fails_keeps_no_other_from_being_told() -> None:
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
