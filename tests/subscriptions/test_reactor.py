"""Handlers in all their shapes, and what they do through their context."""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

import fait

QUICKLY = fait.Retry(initial_s=0.001)


@fait.event("rung.rang")
class Rang:
    number: int = 1


class Bell(fait.Aggregate, category="bell"):
    rung: int = 0

    def ring(self) -> None:
        self.emit(Rang())

    def evolve(self, event: Rang) -> None:
        self.rung += 1


async def handled(handler: Any, **options: Any) -> None:
    app = fait.App("bells")
    app.on(Rang, name="handler", retry=QUICKLY, **options)(handler)
    async with app.open("memory:") as s:
        await s.wait(await s.publish(Rang(7), stream="tower-1"), timeout_s=30)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


async def test_a_decorated_coroutine_function_is_awaited() -> None:
    seen = list[int]()

    @logged
    async def handler(event: Rang) -> None:
        await asyncio.sleep(0)
        seen.append(event.number)

    await handled(handler)
    assert seen == [7]


async def test_methods_partials_and_plain_functions_are_handlers() -> None:
    seen = list[Any]()

    class Keeper:
        def plain(self, event: Rang) -> None:
            seen.append(event.number)

        async def with_context(self, event: Rang, ctx: fait.Context) -> None:
            seen.append(ctx.envelope.stream)

    await handled(Keeper().plain)
    await handled(Keeper().with_context)
    await handled(functools.partial(lambda prefix, event: seen.append(prefix + str(event.number)), "n"))
    assert seen == [7, "tower-1", "n7"]


def test_a_handler_that_cannot_take_an_event_is_refused() -> None:
    app = fait.App("bells")

    with pytest.raises(fait.DeclarationError, match="must take the event"):
        app.on(Rang)(lambda: None)  # type: ignore[arg-type, misc]


async def test_a_handler_that_is_cancelled_from_inside_has_failed_and_is_tried_again() -> None:
    attempts = list[int]()

    async def handler(event: Rang, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise asyncio.CancelledError

    await handled(handler)
    assert attempts == [1, 2]


async def test_a_handler_that_takes_too_long_has_failed_and_is_tried_again() -> None:
    attempts = list[int]()

    async def handler(event: Rang, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()

    await handled(handler, timeout_s=0.01)
    assert attempts == [1, 2]


async def test_calls_made_in_another_order_at_the_second_attempt_still_happen_once() -> None:
    app = fait.App("bells")
    app.include(Bell)

    @app.on(Rang, retry=QUICKLY)
    async def handler(event: Rang, ctx: fait.Context) -> None:
        if ctx.envelope.category != "tower":
            return
        for name in ("a", "b") if ctx.attempt == 1 else ("b", "a"):
            await ctx.transact(Bell.ring, name)
            await ctx.publish(Rang(), stream=f"echo-{name}")
        if ctx.attempt == 1:
            raise ValueError("not yet")

    async with app.open("memory:") as s:
        await s.wait(await s.publish(Rang(), stream="tower-1"))

        assert [(await s.load(Bell, name)).rung for name in ("a", "b")] == [1, 1]
        assert [len(await s.read(f"echo-{name}")) for name in ("a", "b")] == [1, 1]


async def test_what_a_handler_causes_tells_its_cause() -> None:
    app = fait.App("bells")

    @app.on(Rang)
    async def handler(event: Rang, ctx: fait.Context) -> None:
        if ctx.envelope.category == "tower":
            await ctx.publish(Rang(), stream="echo-1")

    async with app.open("memory:") as s:
        await s.wait(await s.publish(Rang(), stream="tower-1"))
        [first], [echo] = await s.read("tower-1"), await s.read("echo-1")

    assert (echo.metadata.causation_id, echo.metadata.correlation_id) == (first.id, first.id)


@pytest.mark.parametrize("url", ["memory:", "sqlite:///{}/bells.db"])
async def test_events_end_where_the_log_ends(url: str, tmp_path: Path) -> None:
    async with fait.App("bells").open(url.format(tmp_path)) as s, asyncio.timeout(30):
        assert [each async for each in s.events()] == []
        done = await s.publish(Rang(), stream="tower-1")
        assert [each.position async for each in s.events()] == [1]
        assert [each async for each in s.events(after=done.position)] == []


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with fait.App("bells").open(f"sqlite:///{tmp_path}/bells.db") as s:
        pass
    for call in (s.read("a"), s.load(Bell, "1"), s.store.log.find(["x"]), s.store.log.head(), s.store.log.read(0)):
        with pytest.raises(fait.StoreUnavailable, match="closed"):
            await call
    with pytest.raises(fait.StoreUnavailable, match="closed"):
        await s.publish(Rang(), stream="tower-1")


async def test_a_table_that_does_not_fit_is_left_as_it_is(tmp_path: Path) -> None:
    import apsw

    def model(**options: Any) -> type[fait.ReadModel]:
        fields = {"id": str, **({"number": int} if options else {})}

        def evolve(cls: type[Self], row: Any, event: Rang, at: fait.Envelope) -> Any: ...

        namespace = {"__annotations__": fields, "__module__": __name__, "evolve": classmethod(evolve)}
        return type(fait.ReadModel)("Sums", (fait.ReadModel,), namespace, key="id", **options)

    def declared() -> list[Any]:
        return apsw.Connection(str(tmp_path / "bells.db")).execute("SELECT sql FROM sqlite_schema").fetchall()

    url, before = f"sqlite:///{tmp_path}/bells.db", list[Any]()
    for each in (model(), model(indexes=[("number",)])):
        app = fait.App("bells")
        app.include(each)
        if not before:
            async with app.open(url):
                pass
            before = declared()
        else:
            with pytest.raises(fait.ReadModelChanged):
                async with app.open(url):
                    pass
    assert declared() == before
