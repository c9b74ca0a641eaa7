"""Kinds of handlers, their failures, and their calls through the context."""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

import fait

SHORT_RETRY = fait.FailurePolicy(initial_s=0.001)


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
    app.on(Rang, name="handler", on_failure=SHORT_RETRY, **options)(handler)
    async with app.open("memory:") as s:
        await s.wait(await s.publish(Rang(7), stream="tower-1"), timeout_s=30)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


async def test_decorated_coroutine_function_is_awaited() -> None:
    seen = list[int]()

    @logged
    async def handler(event: Rang) -> None:
        await asyncio.sleep(0)
        seen.append(event.number)

    await handled(handler)
    assert seen == [7]


async def test_methods_partials_and_functions_are_handlers() -> None:
    seen = list[Any]()

    class Handlers:
        def plain(self, event: Rang) -> None:
            seen.append(event.number)

        async def with_context(self, event: Rang, ctx: fait.Context) -> None:
            seen.append(ctx.envelope.stream)

    await handled(Handlers().plain)
    await handled(Handlers().with_context)
    await handled(functools.partial(lambda prefix, event: seen.append(prefix + str(event.number)), "n"))
    assert seen == [7, "tower-1", "n7"]


def test_handler_without_parameter_raises_declaration_error() -> None:
    app = fait.App("bells")

    with pytest.raises(fait.DeclarationError, match="must take one argument, the event"):
        app.on(Rang)(lambda: None)  # type: ignore[arg-type, misc]


async def test_handler_raising_cancelled_error_is_retried() -> None:
    attempts = list[int]()

    async def handler(event: Rang, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise asyncio.CancelledError

    await handled(handler)
    assert attempts == [1, 2]


async def test_handler_exceeding_timeout_is_retried() -> None:
    attempts = list[int]()

    async def handler(event: Rang, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()

    await handled(handler, timeout_s=0.01)
    assert attempts == [1, 2]


@pytest.mark.parametrize("decorated", [False, True])
async def test_handler_that_catches_its_timeout_can_store_nothing_more(decorated: bool) -> None:
    errors = list[str]()
    app = fait.App("bells")

    async def handler(event: Rang, ctx: fait.Context) -> None:
        if ctx.envelope.category == "echo" or ctx.attempt > 1:
            return
        await ctx.publish(Rang(), stream="echo-before")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for call in (lambda: ctx.publish(Rang(), stream="echo-after"), lambda: ctx.transact(Bell.ring, "1")):
                try:
                    await call()
                except fait.UsageError as error:
                    errors.append(str(error))

    def called_in_thread(event: Rang, ctx: fait.Context) -> Any:
        return handler(event, ctx)

    app.include(Bell)
    app.on(Rang, on_failure=SHORT_RETRY, timeout_s=0.05, name="handler")(called_in_thread if decorated else handler)
    async with app.open("memory:") as s:
        await s.wait(await s.publish(Rang(), stream="tower-1"))
        assert [await s.read(f"echo-{each}") for each in ("before", "after")] == [[], []]
    assert ["passed its timeout" in each for each in errors] == [True, True]


async def test_calls_in_other_order_at_retry_take_effect_once() -> None:
    app = fait.App("bells")
    app.include(Bell)

    @app.on(Rang, on_failure=SHORT_RETRY)
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


async def test_event_published_by_handler_carries_causation_id() -> None:
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
async def test_events_stop_at_head_of_log(url: str, tmp_path: Path) -> None:
    app = fait.App("bells")
    app.include(Rang)
    async with app.open(url.format(tmp_path)) as s, asyncio.timeout(30):
        assert [each async for each in s.events()] == []
        result = await s.publish(Rang(), stream="tower-1")
        assert [each.position async for each in s.events()] == [1]
        assert [each async for each in s.events(after=result.position)] == []


async def test_call_on_closed_store_raises_store_unavailable(tmp_path: Path) -> None:
    app = fait.App("bells")
    app.include(Rang)
    async with app.open(f"sqlite:///{tmp_path}/bells.db") as s:
        pass
    log = s.store.log
    for call in (s.read("a"), s.load(Bell, "1"), log.find([fait.new_id()]), log.head(), log.read(0)):
        with pytest.raises(fait.StoreUnavailable, match="closed"):
            await call
    with pytest.raises(fait.StoreUnavailable, match="closed"):
        await s.publish(Rang(), stream="tower-1")


async def test_open_with_changed_read_model_leaves_table_unchanged(tmp_path: Path) -> None:
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
