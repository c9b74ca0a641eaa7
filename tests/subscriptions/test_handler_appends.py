"""Events that a handler appends through its context: stored with its record, once, and read back before that."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import fait
from fait._decisions import decision_loop
from fait._events.append import AppendCondition, StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY, EXISTS
from fait._store.open import backend_names
from fait._subscriptions import conflicts, handler_log
from fait._subscriptions.handler_log import FIRST_BUFFERED_POSITION, merge_appends

SHORT_RETRY = fait.FailurePolicy(initial_s=0.001)
BACKENDS = sorted(backend_names())


@fait.event("order.placed")
class Placed:
    sku: str = ""


@fait.event("item.reserved")
class Reserved:
    note: str = ""


class Stock(fait.Aggregate, category="stock", snapshot_every=2):
    reserved: int = 0

    def reserve(self, note: str = "") -> int:
        self.emit(Reserved(note))
        return self.reserved

    def evolve(self, event: Reserved) -> None:
        self.reserved += 1


def _reserve(command: Reserved, reserved: int) -> list[fait.NewEvents]:
    if reserved >= 2:
        raise fait.Rejected("nothing left")
    return [fait.NewEvents("hall-1", [Reserved(command.note)], tags=["show:1"])]


def _count(reserved: int, event: Reserved) -> int:
    return reserved + 1


SHOW = fait.Boundary(
    name="show",
    depends_on=lambda command: fait.Query(tags=("show:1",)),
    initial=int,
    decide=_reserve,
    evolve=_count,
)

Handle = Callable[[Placed, fait.Context], Any]


def app_of(handle: Handle, **options: Any) -> fait.App:
    app = fait.App("shop")
    app.include(Stock, Placed, Reserved, SHOW)
    app.on(Placed, name="handle", on_failure=SHORT_RETRY, **options)(handle)
    return app


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def run(url: str, handle: Handle, *, orders: int = 1, **options: Any) -> dict[str, list[str]]:
    """Let a handler handle orders. Returns the notes of the events that it has appended, by stream."""
    async with app_of(handle, **options).open(url) as s:
        placed = await s.append(fait.NewEvents("order-1", [Placed(str(number)) for number in range(orders)]))
        await s.wait(placed, timeout_s=20)
        return await notes(s)


async def notes(s: fait.System) -> dict[str, list[str]]:
    stored = dict[str, list[str]]()
    async for each in s.events():
        if isinstance(each.event, Reserved):
            stored.setdefault(each.stream, []).append(each.event.note)
    return stored


# Attempts


@pytest.mark.parametrize("entrance", ["publish", "append", "transact", "decide", "key"])
async def test_calls_in_another_order_at_each_attempt_take_effect_once(url: str, entrance: str) -> None:
    async def handle(event: Placed, ctx: fait.Context) -> None:
        for sku in ("a", "b", "c") if ctx.attempt % 2 else ("c", "a", "b"):
            await call(ctx, entrance, sku)
            if ctx.attempt < 3 and sku == ("b" if ctx.attempt == 1 else "c"):
                raise ValueError("not yet")

    stored = await run(url, handle)

    assert stored == {f"stock-{sku}": [sku] for sku in "abc"}


async def call(ctx: fait.Context, entrance: str, sku: str) -> None:
    if entrance == "publish":
        await ctx.publish(Reserved(sku), stream=f"stock-{sku}")
    elif entrance == "append":
        await ctx.append(fait.NewEvents(f"stock-{sku}", [Reserved(sku)]))
    elif entrance == "key":
        await ctx.using(key=sku).transact(Stock.reserve, sku, sku)
    elif entrance == "transact":
        await ctx.transact(Stock.reserve, sku, sku)
    else:
        own = fait.Boundary(
            name=f"own-{sku}",
            depends_on=lambda command: fait.Query(tags=(f"sku:{sku}",)),
            initial=int,
            decide=lambda command, state: [fait.NewEvents(f"stock-{sku}", [command], tags=[f"sku:{sku}"])],
            evolve=_count,
        )
        await ctx.decide(own, Reserved(sku))


async def test_argument_that_differs_at_each_attempt_is_stored_once(url: str) -> None:
    async def handle(event: Placed, ctx: fait.Context) -> None:
        await ctx.transact(Stock.reserve, "1", str(time.time_ns()))
        if ctx.attempt < 3:
            raise ValueError("not yet")

    stored = await run(url, handle)

    assert [len(each) for each in stored.values()] == [1]


async def test_rename_between_two_attempts_stores_events_once(url: str) -> None:
    async def publish(event: Placed, ctx: fait.Context) -> None:
        await ctx.publish(Reserved("a"), stream="stock-1")

    async def fail(event: Placed, ctx: fait.Context) -> None:
        await publish(event, ctx)
        raise ValueError("not yet")

    if url.startswith("memory"):
        pytest.skip("the store is not durable")
    async with app_of(fail).open(url) as s:
        placed = await s.publish(Placed(), stream="order-1")
        await _until(lambda: _status(s).error is not None)
        assert await notes(s) == {}
    renamed = fait.App("shop")
    renamed.include(Stock, SHOW)
    renamed.on(Placed, name="renamed", on_failure=SHORT_RETRY)(publish)
    async with renamed.open(url, renamed={"handle": "renamed"}) as s:
        await s.wait(placed, timeout_s=20)

        assert await notes(s) == {"stock-1": ["a"]}


async def test_failed_attempt_stores_nothing(url: str) -> None:
    async def handle(event: Placed, ctx: fait.Context) -> None:
        await ctx.publish(Reserved(f"attempt {ctx.attempt}"), stream="stock-1")
        if ctx.attempt < 3:
            raise ValueError("not yet")

    assert await run(url, handle) == {"stock-1": ["attempt 3"]}


async def test_skipped_event_stores_nothing(url: str) -> None:
    app = fait.App("shop")
    app.include(Reserved)

    @app.on(Placed, on_failure=fait.FailurePolicy(initial_s=0.001, attempts=2, then="skip"))
    async def handle(event: Placed, ctx: fait.Context) -> None:
        await ctx.publish(Reserved(), stream="stock-1")
        raise ValueError("never")

    async with app.open(url) as s:
        await s.wait(await s.publish(Placed(), stream="order-1"), timeout_s=20)

        assert await notes(s) == {}


async def test_events_of_handler_keep_the_order_of_its_calls(url: str) -> None:
    async def handle(event: Placed, ctx: fait.Context) -> None:
        for number in range(6):
            await ctx.publish(Reserved(str(number)), stream=f"stock-{number % 2}")

    async with app_of(handle).open(url) as s:
        placed = await s.publish(Placed(), stream="order-1")
        await s.wait(placed)
        events = [each async for each in s.events(after=placed.position)]

    assert [each.event.note for each in events] == list("012345")
    assert [(each.stream, each.version) for each in events[-2:]] == [("stock-0", 3), ("stock-1", 3)]
    assert {each.metadata.causation_id for each in events} == {events[0].metadata.correlation_id}


async def test_handler_may_append_to_the_stream_that_it_handles(url: str) -> None:
    async def handle(event: Placed, ctx: fait.Context) -> None:
        if ctx.envelope.version < 4:
            await ctx.publish(Placed(), stream="order-1")

    async with app_of(handle).open(url) as s:
        await s.publish(Placed(), stream="order-1")
        async with asyncio.timeout(20):
            while len(await s.read("order-1")) < 4:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.005)
        await s.wait(timeout_s=20)

        assert [each.version for each in await s.read("order-1")] == [1, 2, 3, 4]


# Reading back


async def test_later_calls_read_buffered_events(url: str) -> None:
    seen = dict[str, Any]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        first, second = await ctx.transact(Stock.reserve, "1", "b"), await ctx.transact(Stock.reserve, "1", "c")
        seen["values"] = (first.value, second.value)
        seen["versions"] = (first.version, second.version)
        seen["load"] = (await ctx.load(Stock, "1")).reserved
        seen["until"] = (await ctx.load(Stock, "1", version=2)).reserved
        seen["many"] = {id: each.reserved for id, each in (await ctx.load_many(Stock, ["2", "1"])).items()}
        found = await ctx.query(fait.Query.of(Reserved))
        seen["query"] = [each.event.note for each in found.events]
        seen["buffered"] = [each.position >= FIRST_BUFFERED_POSITION for each in found.events]
        seen["stored"] = await notes(system)

    app = app_of(handle)
    async with app.open(url) as system:
        await system.transact(Stock.reserve, "1", "a")
        await system.wait(await system.publish(Placed(), stream="order-1"), timeout_s=20)
        stored = await notes(system)

    assert seen == {
        "values": (2, 3),
        "versions": (2, 3),
        "load": 3,
        "until": 2,
        "many": {"2": 0, "1": 3},
        "query": ["a", "b", "c"],
        "buffered": [False, True, True],
        "stored": {"stock-1": ["a"]},
    }
    assert stored == {"stock-1": ["a", "b", "c"]}


async def test_boundary_decides_on_buffered_events(url: str) -> None:
    rejected = list[str]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        for note in "abc":
            try:
                await ctx.decide(SHOW, Reserved(note))
            except fait.Rejected:
                rejected.append(note)

    assert await run(url, handle) == {"hall-1": ["a", "b"]}
    assert rejected == ["c"]


async def test_concurrent_decisions_of_one_handler_see_each_other(url: str) -> None:
    async def handle(event: Placed, ctx: fait.Context) -> None:
        await asyncio.gather(
            *(ctx.transact(Stock.reserve, "1", str(number)) for number in range(5)),
            *(ctx.decide(SHOW, Reserved(note)) for note in "ab"),
        )

    stored = await run(url, handle)

    assert {stream: sorted(each) for stream, each in stored.items()} == {"stock-1": list("01234"), "hall-1": ["a", "b"]}


async def test_repeated_key_or_id_in_one_handler_appends_once(url: str) -> None:
    repeated, id = list[bool](), fait.new_id()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        for _ in range(2):
            repeated.append((await ctx.using(key="k").transact(Stock.reserve, "1")).repeated)
            repeated.append((await ctx.publish(Reserved(), stream="stock-2", id=id)).repeated)

    stored = await run(url, handle)

    assert stored == {"stock-1": [""], "stock-2": [""]}
    assert repeated == [False, False, True, True]


async def test_id_that_is_stored_already_is_found_after_a_conflict(url: str) -> None:
    results, id = list[bool](), fait.new_id()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        results.append((await ctx.publish(Reserved("first"), stream="stock-1", id=id)).repeated)

    async with app_of(handle).open(url) as s:
        await s.publish(Reserved("first"), stream="stock-1", id=id)
        await s.wait(await s.publish(Placed(), stream="order-1"), timeout_s=20)

        assert await notes(s) == {"stock-1": ["first"]}
    assert results == [False, True]


async def test_snapshot_of_buffered_events_is_not_saved(url: str) -> None:
    saved = list[int]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        for _ in range(4):
            await ctx.transact(Stock.reserve, "1")
        if ctx.attempt == 1:
            raise ValueError("not yet")

    async with app_of(handle).open(url) as s:
        save = s._store.snapshots.save_snapshot

        async def noted(snapshot: Any) -> None:
            saved.append(snapshot.version)
            await save(snapshot)

        s._store.snapshots.save_snapshot = noted  # type: ignore[method-assign]
        await s.wait(await s.publish(Placed(), stream="order-1"), timeout_s=20)
        assert saved == []
        await s.wait(await s.publish(Placed(), stream="order-1"), timeout_s=20)

        assert (await s.load(Stock, "1")).reserved == 8
    assert saved[0] == 4


# Checks and conflicts


async def test_expected_version_and_condition_are_checked_in_the_call(url: str) -> None:
    errors = list[type]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        found = await ctx.query(fait.Query.of(Reserved))
        result = await ctx.using(expected="no_stream").publish(Reserved("a"), stream="stock-1")
        await ctx.using(expected=result.version).publish(Reserved("b"), stream="stock-1")
        id = fait.new_id()
        await ctx.publish(Reserved("c"), stream="stock-1", id=id)
        for wrong in (
            ctx.using(expected=result.version).publish(Reserved("x"), stream="stock-1"),
            ctx.using(expected="exists").publish(Reserved("x"), stream="stock-9"),
            ctx.append(fait.NewEvents("stock-1", [Reserved("x")]), only_if=found),
            ctx.publish(Reserved("x"), stream="stock-2", id=id),
        ):
            try:
                await wrong
            except fait.FaitError as error:
                errors.append(type(error))

    assert await run(url, handle) == {"stock-1": ["a", "b", "c"]}
    assert errors == [
        fait.WrongExpectedVersion, fait.WrongExpectedVersion, fait.AppendConditionFailed, fait.DuplicateEventId,
    ]  # fmt: skip


@pytest.mark.parametrize("entrance", ["transact", "decide", "expected", "only_if"])
async def test_event_is_handled_again_after_a_conflict_without_a_failed_attempt(url: str, entrance: str) -> None:
    attempts = list[int]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if entrance == "transact":
            await ctx.transact(Stock.reserve, "1", "mine")
        elif entrance == "decide":
            await ctx.decide(SHOW, Reserved("mine"))
        elif entrance == "expected":
            version = (await ctx.load(Stock, "1")).reserved
            await ctx.using(expected=version).publish(Reserved("mine"), stream="stock-1")
        else:
            found = await ctx.query(fait.Query(tags=("show:1",)))
            await ctx.append(fait.NewEvents("other-1", [Reserved("mine")]), only_if=found)
        await ctx.publish(Reserved("also mine"), stream="stock-2")
        if len(attempts) == 1:
            await system.append(
                fait.NewEvents("stock-1", [Reserved("other")]),
                fait.NewEvents("hall-1", [Reserved("other")], tags=["show:1"]),
            )

    async with app_of(handle).open(url) as system:
        await system.wait(await system.publish(Placed(), stream="order-1"), timeout_s=20)
        stored = await notes(system)

    assert attempts == [1, 1]
    assert stored.pop("stock-2") == ["also mine"]
    assert sorted(note for each in stored.values() for note in each) == ["mine", "other", "other"]


async def test_conflicts_that_continue_are_shown_until_the_event_is_recorded(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decision_loop, "_MAX_BACKOFF_S", 0.001)
    calls, errors = 0, list[Any]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        nonlocal calls
        calls += 1
        errors.append(_status(system).error)
        await ctx.transact(Stock.reserve, "1")
        if calls <= conflicts.MAX_SILENT_CONFLICTS:
            await system.publish(Reserved("other"), stream="stock-1")

    async with app_of(handle).open(url) as system:
        await system.wait(await system.publish(Placed(), stream="order-1"), timeout_s=20)
        status = _status(system)

    assert [isinstance(each, fait.WrongExpectedVersion) for each in errors] == [False] * 10 + [True]
    assert (calls, status.error) == (11, None)
    assert len([each for each in caplog.records if "handled again because of conflicts" in each.message]) == 1


# Batches


async def test_later_handlers_of_a_batch_read_buffered_events_of_earlier_ones(url: str) -> None:
    reserved = list[int]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        reserved.append((await ctx.transact(Stock.reserve, "1", event.sku)).value)

    assert await run(url, handle, orders=5, batch=5) == {"stock-1": list("01234")}
    assert reserved == [1, 2, 3, 4, 5]


async def test_failing_event_of_a_batch_stores_events_of_those_before_it(url: str) -> None:
    async def handle(event: Placed, ctx: fait.Context) -> None:
        await ctx.transact(Stock.reserve, "1", f"{event.sku}/{ctx.attempt}")
        if event.sku == "2" and ctx.attempt == 1:
            stored.append((await ctx.load(Stock, "1")).reserved)
            raise ValueError("not yet")

    stored = list[int]()
    assert await run(url, handle, orders=4, batch=4) == {"stock-1": ["0/1", "1/1", "2/2", "3/1"]}
    assert stored == [3]


async def test_batch_in_conflict_is_handled_again(url: str) -> None:
    calls = list[str]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        calls.append(event.sku)
        await ctx.transact(Stock.reserve, "1", event.sku)
        if len(calls) == 3:
            await system.publish(Reserved("other"), stream="stock-1")

    async with app_of(handle, batch=3).open(url) as system:
        placed = await system.append(fait.NewEvents("order-1", [Placed(sku) for sku in "abc"]))
        await system.wait(placed, timeout_s=20)

        assert await notes(system) == {"stock-1": ["other", "a", "b", "c"]}
    assert calls == list("abcabc")


# Limits and late calls


async def test_handler_exceeding_the_limit_of_events_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_log, "MAX_APPEND_EVENTS", 3)
    messages = list[str]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        await ctx.append(fait.NewEvents("stock-1", [Reserved(), Reserved(), Reserved()]))
        try:
            await ctx.publish(Reserved("too many"), stream="stock-1")
        except fait.UsageError as error:
            messages.append(str(error))

    assert await run("memory:", handle) == {"stock-1": ["", "", ""]}
    assert "at most 3 events" in messages[0]
    assert "there would be 4" in messages[0]


async def test_batch_that_exceeds_the_limit_is_recorded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_log, "MAX_APPEND_EVENTS", 3)
    attempts = list[int]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        await ctx.append(fait.NewEvents("stock-1", [Reserved(event.sku), Reserved(event.sku)]))

    assert await run("memory:", handle, orders=3, batch=3) == {"stock-1": ["0", "0", "1", "1", "2", "2"]}
    assert set(attempts) == {1}


@pytest.mark.parametrize("late", ["publish", "append", "transact", "decide", "load", "load_many", "query", "execute"])
async def test_call_after_the_handler_has_returned_is_refused(late: str) -> None:
    contexts = list[fait.Context]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        contexts.append(ctx)

    calls: dict[str, Callable[[fait.Context], Any]] = {
        "publish": lambda ctx: ctx.publish(Reserved(), stream="stock-1"),
        "append": lambda ctx: ctx.using(key="k").append(fait.NewEvents("stock-1", [Reserved()])),
        "transact": lambda ctx: ctx.transact(Stock.reserve, "1"),
        "decide": lambda ctx: ctx.decide(SHOW, Reserved()),
        "load": lambda ctx: ctx.load(Stock, "1"),
        "load_many": lambda ctx: ctx.load_many(Stock, ["1"]),
        "query": lambda ctx: ctx.query(fait.Query()),
        "execute": lambda ctx: asyncio.to_thread(ctx.execute, "SELECT 1"),
    }
    async with app_of(handle).open("memory:") as s:
        await s.wait(await s.publish(Placed(), stream="order-1"))

        with pytest.raises(fait.UsageError, match=r"used after the handler had returned.*Nothing was written"):
            await calls[late](contexts[0])

        assert await notes(s) == {}


async def test_call_that_is_under_way_when_the_handler_returns_is_refused(url: str) -> None:
    tasks = list[asyncio.Task[Any]]()

    async def handle(event: Placed, ctx: fait.Context) -> None:
        for _ in range(3):
            tasks.append(asyncio.create_task(ctx.publish(Reserved("late"), stream="stock-1")))
        await asyncio.sleep(0)

    async with app_of(handle).open(url) as s:
        await s.wait(await s.publish(Placed(), stream="order-1"), timeout_s=20)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        stored = (await notes(s)).get("stock-1", [])

    assert all(isinstance(each, fait.WriteResult | fait.UsageError) for each in results)
    assert len(stored) == sum(isinstance(each, fait.WriteResult) for each in results)


async def test_call_after_the_timeout_of_the_handler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, closed, close = list[Exception](), threading.Event(), fait.Context.close

    def close_and_tell(context: fait.Context) -> None:
        close(context)
        closed.set()

    monkeypatch.setattr(fait.Context, "close", close_and_tell)

    def handle(event: Placed, ctx: fait.Context) -> None:
        if ctx.attempt == 1:
            closed.wait(20)
            try:
                ctx.execute("SELECT 1")
            except fait.UsageError as error:
                errors.append(error)

    assert await run("memory:", handle, timeout_s=0.05) == {}
    assert "passed its timeout" in str(errors[0])


# Merging


@pytest.mark.parametrize(
    ("expected", "before"),
    [
        ([ANY, ANY], ANY), ([EXISTS, ANY], EXISTS), ([ANY, EXISTS], ANY), ([0, 1], 0), ([ANY, 8], 7), ([EXISTS, 8], 7),
        ([7, ANY], 7), ([7, EXISTS, 9], 7), ([ANY, ANY, 9], 7),
    ],
)  # fmt: skip
def test_merged_appends_expect_the_version_before_the_first_event(expected: list[int], before: int) -> None:
    events = [EncodedEvent("t", 1, fait.new_id(), "{}") for _ in expected]
    condition = AppendCondition((), 3)

    merged = merge_appends(
        ([StreamWrite("s", (event,), number)], condition) for event, number in zip(events, expected, strict=True)
    )

    assert merged is not None
    assert merged.events == [("s", event) for event in events]
    assert merged.expected == {"s": before}
    assert merged.conditions == [condition] * len(expected)


def test_no_appends_are_merged_to_none() -> None:
    assert merge_appends([]) is None


def _status(s: fait.System) -> Any:
    return s._subscription_runner.groups["handle"]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)
