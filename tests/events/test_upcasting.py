"""What a reader may rely on when stored events have other forms than today's classes: a test for each behavior.

`test_readers` runs all readers with all forms, `test_stored_forms` has what cannot be read, repeated appends and tools,
and `test_upcast` the declarations and what is refused.
"""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

import fait
from fait._clock import ManualClock
from fait._decisions.aggregate import fold_definition_of
from fait._decisions.load import Loader
from fait._events.append import StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait.testing.contract.processors import until
from tests.events.stored_forms import (
    STORED,
    UPCASTERS,
    Customers,
    Delivered,
    Order,
    Placed,
    Priced,
    app_of,
    finish,
    opened,
    shop_with,
    store,
    store_split,
)

T0 = datetime(2024, 1, 1, tzinfo=UTC)


class FirstAttempt:
    """What a processor tells a subscription."""

    attempt, conflicts, stopping = 1, 0, False

    def is_concerned(self, _key: str, /) -> bool:
        return True


# Queries and append conditions


@pytest.mark.parametrize("stored", ["former name", "split", "envelope", "older version of the first name"])
async def test_append_condition_fails_for_an_event_stored_under_another_name(stored: str, any_url: str) -> None:
    async with opened(any_url) as s:
        before = await s.query(fait.Query.of(Placed))
        await store(s, *STORED[stored][:3])

        with pytest.raises(fait.AppendConditionFailed):
            await s.append(fait.NewEvents("order-2", [Placed("bob")]), only_if=before)


async def test_query_for_one_result_of_a_split_leaves_the_others_out(url: str) -> None:
    async with opened(url) as s:
        await store(s, *STORED["split"][:3])

        priced = (await s.query(fait.Query.of(Priced))).events
        stored = (await s.query(fait.Query(types=("evolution.listed",)))).events

    assert [each.event for each in priced] == [Priced(7)]
    assert len(stored) == 4


async def test_results_of_a_split_share_the_place_and_have_numbered_ids(any_url: str) -> None:
    async with opened(any_url) as s:
        await store(s, *STORED["split"][:3])
        await store(s, *STORED["dropped"][:3])

        envelopes = await s.read("order-1")
        recorded, dropped = (await s.store.log.read_stream("order-1"))[0]

    assert [(each.id, each.position, each.version) for each in envelopes] == [
        (f"{recorded.id}/{number}", recorded.position, 1) for number in range(4)
    ]
    assert [each.type for each in envelopes] == ["evolution.placed", "evolution.priced", *["evolution.placed"] * 2]
    assert dropped.type == "evolution.noise"


async def test_version_of_a_stream_counts_stored_events(any_url: str) -> None:
    async with opened(any_url) as s:
        await store(s, *STORED["split"][:3])
        await store(s, *STORED["dropped"][:3])
        result = await s.using(expected=2).publish(Placed("bob"), stream="order-1")

    assert result.version == 3


# Handlers


@pytest.mark.parametrize("stored", ["dropped", "split without a handled result"])
async def test_handler_passes_an_event_without_a_handled_result(stored: str, url: str) -> None:
    app, handled = shop_with(), list[str]()
    app.on(Placed, name="collect", start="beginning")(lambda event: handled.append(event.customer))
    async with app.open(url) as s:
        await store(s, *STORED[stored][:3])
        await finish(s, "bob")

    assert handled == ["bob"]


async def test_results_of_a_split_are_recorded_as_a_whole(any_url: str) -> None:
    app, calls = shop_with(), list[tuple[str, int]]()

    @app.on(Placed, start="beginning", on_failure=fait.FailurePolicy(initial_s=0.001), batch=10)
    async def answer(event: Placed, ctx: fait.Context) -> None:
        calls.append((event.customer, ctx.attempt))
        await ctx.publish(Priced(len(calls)), stream="answers-1")
        if event.customer == "bob" and ctx.attempt == 1:
            raise ValueError

    async with app.open(any_url) as s:
        await store(s, *STORED["split"][:3])
        await s.wait(await s.publish(Placed("end"), stream="order-1"), timeout_s=30)
        answers = [each.event.amount for each in await s.read("answers-1")]

    split = [("ada", 2), ("bob", 2), ("eve", 2)]
    assert [each for each in calls if each[0] != "end"] == [("ada", 1), ("bob", 1), *split]
    assert answers == [calls.index(each) + 1 for each in [*split, calls[-1]]]


@pytest.mark.parametrize(("too_new", "expected"), [("wait", []), ("skip", ["end"])])
async def test_handler_waits_at_an_event_of_newer_code_or_skips_it(too_new: Any, expected: list[str], url: str) -> None:
    app, seen = shop_with(), list[str]()
    policy = fait.FailurePolicy(initial_s=0.001, too_new=too_new)
    app.on(Placed, name="collect", start="beginning", on_failure=policy)(lambda each: seen.append(each.customer))
    async with app.open(url) as s:
        await store(s, "evolution.placed", 5, '{"customer":"ada"}')
        end = await s.publish(Placed("end"), stream="order-1")
        with contextlib.suppress(fait.Stale):
            await s.wait(end, timeout_s=5 if expected else 0.3)

    assert seen == expected


async def test_renamed_event_continues_subscriptions_and_read_models(tmp_path: Path) -> None:
    url, seen = f"sqlite:///{tmp_path}/shop.db", list[str]()

    def app_with(event: Any) -> tuple[fait.App, Any]:
        class Counts(fait.ReadModel, key="id"):
            id: str
            count: int

            @classmethod
            def evolve(cls, row: Self | None, event: event, envelope: fait.Envelope) -> Self | None:  # type: ignore[valid-type]
                return cls(id=envelope.stream_id, count=(row.count if row else 0) + 1)

        app = fait.App("shop")
        app.include(Counts)
        app.on(event, name="collect")(lambda each: seen.append(each.name))
        return app, Counts

    @fait.event("evolution.old")
    class Old:
        name: str

    @fait.event("evolution.new", was=("evolution.old",))
    class New:
        name: str

    before, _ = app_with(Old)
    async with before.open(url) as s:
        await s.wait(await s.publish(Old("one"), stream="x-1"), timeout_s=30)
        await s.publish(Old("two"), stream="x-1")
    after, counts = app_with(New)
    with pytest.raises(fait.ReadModelChanged):
        async with after.open(url):
            pass
    async with after.open(url, accept=["counts"]) as s:
        await s.wait(await s.publish(New("three"), stream="x-1"), timeout_s=30)
        rows = [each.count for each in await s.find(counts)]

    assert seen == ["one", "two", "three"]
    assert rows == [3]


async def test_crash_in_the_middle_of_a_split_repeats_all_of_its_results(tmp_path: Path) -> None:
    url, calls, may_finish = f"sqlite:///{tmp_path}/shop.db", list[str](), False
    reached = asyncio.Event()
    app = shop_with()

    @app.on(Placed, start="beginning", batch=10)
    async def answer(event: Placed, ctx: fait.Context) -> None:
        calls.append(event.customer)
        await ctx.publish(Priced(len(calls)), stream="answers-1")
        if event.customer == "bob" and not may_finish:
            reached.set()
            await asyncio.Event().wait()

    async with app.open(url) as s:
        await store_split(s)
        await reached.wait()
        runner = s._subscription_runner
        for task in [*runner.background_tasks, *runner.groups["answer"]._tasks.values()]:
            task.cancel()
    may_finish = True
    async with app.open(url) as s:
        await finish(s)
        answers = [each.event for each in await s.read("answers-1")]

    assert calls == ["ada", "bob", "ada", "bob", "eve", "end"]
    assert answers == [Priced(number) for number in (3, 4, 5, 6)]


@pytest.mark.parametrize("in_thread", [False, True])
async def test_batch_whose_time_is_up_ends_after_the_last_result_of_a_split(
    in_thread: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._subscriptions.reactor.MAX_BATCH_DURATION_S", 0)
    app, calls, recorded = shop_with(), list[str](), list[int]()

    async def answer(event: Placed, ctx: fait.Context) -> None:
        calls.append(event.customer)
        await ctx.publish(Priced(len(calls)), stream="answers-1")

    def note(event: Placed, ctx: fait.Context) -> None:
        calls.append(event.customer)

    app.on(Placed, name="answer", start="beginning", batch=10)(note if in_thread else answer)
    async with app.open(url, run="elsewhere") as s:
        await store_split(s)
        await store_split(s)
        subscription = s._subscription_runner.groups["answer"].run.subscription
        events, _ = await s.store.log.read_stream("order-1")
        while events:
            outcome = await subscription.handle(events, FirstAttempt())
            recorded.append(outcome.finished)
            events = events[outcome.finished :]

    assert recorded == [1, 1]
    assert calls == ["ada", "bob", "eve"] * 2


async def test_close_in_the_middle_of_a_split_repeats_it_with_all_of_its_results(tmp_path: Path) -> None:
    url, calls, app = f"sqlite:///{tmp_path}/shop.db", list[str](), shop_with()
    reached = asyncio.Event()

    @app.on(Placed, start="beginning", batch=10)
    async def answer(event: Placed, ctx: fait.Context) -> None:
        calls.append(event.customer)
        await ctx.publish(Priced(len(calls)), stream="answers-1")
        if len(calls) == 2:
            reached.set()
            await until(lambda: s._subscription_runner.groups["answer"].state == "stopping")

    async with app.open(url) as s:
        await store_split(s)
        await reached.wait()
    async with app.open(url) as s:
        await finish(s)
        answers = [each.event for each in await s.read("answers-1")]

    assert calls == ["ada", "bob", "ada", "bob", "eve", "end"]
    assert answers == [Priced(number) for number in (3, 4, 5, 6)]


async def test_checkpoint_moves_past_the_last_result_of_a_split_and_past_dropped_events(url: str) -> None:
    app = shop_with(Customers)
    app.on(Placed, name="collect", start="beginning")(lambda event: None)
    async with app.open(url) as s:
        for form in ("split", "dropped", "split without a handled result"):
            await store(s, *STORED[form][:3])
        await s.wait(timeout_s=30)
        head = await s.store.log.head()

        assert {(each.name, each.position, each.error) for each in await s.status()} == {
            ("collect", head, None),
            ("customers", head, None),
        }


async def test_results_of_a_split_have_the_stored_event_as_their_cause(url: str) -> None:
    app = shop_with()

    @app.on(Placed, start="beginning")
    async def answer(event: Placed, ctx: fait.Context) -> None:
        await ctx.publish(Priced(1), stream="answers-1")

    async with app.open(url) as s:
        await store_split(s)
        await s.wait(timeout_s=30)
        stored_id = (await s.store.log.read_stream("order-1"))[0][0].id
        causes = [(each.metadata.causation_id, each.metadata.correlation_id) for each in await s.read("answers-1")]

    assert causes == [(stored_id, stored_id)] * 3


async def test_write_of_a_split_is_read_after_its_last_result(url: str) -> None:
    async with shop_with(Customers).open(url) as s:
        for _ in range(20):
            event = EncodedEvent(*STORED["split"][:2], fait.new_id(), STORED["split"][2])
            result = await s.store.log.append([StreamWrite("order-1", (event,), ANY)])
            write = fait.WriteResult(None, "order-1", 1, result.position)  # type: ignore[union-attr]
            row = await s.get(Customers, "1", after=write)

    assert row == Customers(id="1", names="ada bob eve " * 20)


async def test_rebuild_gives_the_rows_that_the_projection_gave(tmp_path: Path) -> None:
    url, app = f"sqlite:///{tmp_path}/shop.db", shop_with(Customers)
    async with app.open(url) as s:
        for name, schema_version, data, _ in STORED.values():
            await store(s, name, schema_version, data)
        rows = await s.find(Customers, after=await finish(s))
    async with app.open(url, rebuild=["customers"]) as s:
        await s.wait(timeout_s=30)
        rebuilt = await s.find(Customers)

    assert [*rebuilt] == [*rows]
    assert "bob" in rows[0].names


# Loading


async def test_older_version_of_a_type_that_has_a_class_can_be_dropped(url: str) -> None:
    app, seen = app_of(Delivered, fait.drop_event("evolution.delivered", 1)), list[str]()
    app.on(Delivered, name="collect", start="beginning")(lambda event: seen.append(event.text))
    async with app.open(url) as s:
        for name, schema_version in (("evolution.sent", 1), ("evolution.delivered", 1), ("evolution.sent", 2)):
            await store(s, name, schema_version, '{"text":"hello"}')
        await s.wait(timeout_s=30)
        events = [each.event for each in await s.read("order-1")]

    assert seen == ["hello"]
    assert events == [Delivered("hello")]


async def test_state_of_the_past_contains_all_results_of_a_split(url: str) -> None:
    clock = ManualClock(T0)
    async with shop_with(Order).open(url, clock=clock, run="elsewhere") as s:
        await s.publish(Placed("first"), stream="order-1")
        clock.moment += timedelta(days=1)
        await store_split(s)
        clock.moment += timedelta(days=1)
        await s.publish(Placed("last"), stream="order-1")

        states = [
            (await s.load(Order, "1", version=1)).customers,
            (await s.load(Order, "1", version=2)).customers,
            (await s.load(Order, "1", at=T0 + timedelta(days=1))).customers,
            (await s.load(Order, "1", as_of=T0 + timedelta(days=1))).customers,
            (await s.load_many(Order, ["1", "2"]))["1"].customers,
        ]

    then = ["first", "ada", "bob", "eve"]
    assert states == [["first"], then, then, then, [*then, "last"]]


async def test_snapshot_whose_last_event_was_split_is_continued(url: str) -> None:
    async with opened(url, Order) as s:
        await s.publish(Placed("first"), stream="order-1")
        await store_split(s)
        await s.transact(Order.add, "1", "bob")
        await s._snapshots.close()
        [snapshot] = await s.store.snapshots.load_snapshots(["order-1"])
        await store_split(s)
        loaded = await s.load(Order, "1")

    assert (snapshot.version, loaded.version) == (2, 4)
    assert loaded.customers == ["first", "ada", "bob", "eve", "bob", "ada", "bob", "eve"]


async def test_snapshot_from_before_an_upcaster_is_not_used(tmp_path: Path) -> None:
    @fait.event("evolution.counted", version=2)
    class Counted:
        number: int

    class Counter(fait.Aggregate, category="counter", snapshot_every=1):
        total: int = 0

        def evolve(self, event: Counted) -> None:
            self.total += event.number

    totals = list[int]()
    for upcasters in ([], [fait.upcast("evolution.counted", 1, lambda data: {"number": data["number"] * 10})]):
        app = fait.App("counter")
        app.include(Counter, *upcasters)
        async with app.open(f"sqlite:///{tmp_path}/counter.db", run="elsewhere") as s:
            if not upcasters:
                event = EncodedEvent("evolution.counted", 1, fait.new_id(), '{"number":7}')
                await s.store.log.append([StreamWrite("counter-1", (event,), ANY)])
            totals += [(await s.load(Counter, "1")).total, (await s.load(Counter, "1")).total]

    assert totals == [7, 7, 70, 70]


async def test_event_that_expires_while_a_state_is_loaded_is_left_out(url: str) -> None:
    async with opened(url, Order) as s:
        await store_split(s)
        await s.publish(Placed("end"), stream="order-1")
        log: Any = s._store.log

        class ExpiringLog:
            history, histories = log.history, log.histories

            async def find(self, event_ids: list[str]) -> list[Any]:
                return []

        loaded = await Loader(ExpiringLog(), s._loader.codec).load(fold_definition_of(Order), "order-1")

    assert loaded.state.customers == ["end"]


async def test_command_decides_on_all_results_of_a_split(url: str) -> None:
    async with opened(url, Order) as s:
        await store_split(s)
        result = await s.transact(Order.add, "1", "bob")

    assert (result.value, result.version) == (4, 2)


async def test_boundary_decides_again_after_a_split_that_its_condition_concerns(any_url: str) -> None:
    seen = list[int]()

    def decide(command: str, count: int) -> list[fait.NewEvents]:
        seen.append(count)
        return [fait.NewEvents("answers-1", [Priced(count)])]

    def evolve(count: int, event: Placed | Priced) -> int:
        return count + 1

    boundary = fait.Boundary(
        name="count", depends_on=lambda _: fait.Query.of(Placed), initial=int, decide=decide, evolve=evolve
    )
    async with opened(any_url) as s:
        await s.publish(Placed("bob"), stream="order-1")
        log: Any = s._store.log
        append = log.append

        async def append_after_split(*arguments: Any, **named: Any) -> Any:
            log.append = append
            await store_split(s)
            return await append(*arguments, **named)

        log.append = append_after_split
        await s.decide(boundary, "count")
        answers = [each.event for each in await s.read("answers-1")]

    # The split has a result of a type that evolve handles and the query does not name: it is part of the state.
    assert seen == [1, 5]
    assert answers == [Priced(5)]


# Queries


async def test_query_selects_by_the_type_that_events_are_read_as(url: str) -> None:
    split = fait.upcast("evolution.placed", 2, into=("evolution.placed", "evolution.priced"))(
        lambda data: [fait.Untyped("evolution.placed", data, 3), fait.Untyped("evolution.priced", {"amount": 7})]
    )
    app = fait.App("shop")
    app.include(Placed, Priced, UPCASTERS[0], split)
    async with app.open(url, run="elsewhere") as s:
        await store(s, "evolution.placed", 1, '{"customer_name":"ada"}')
        selected = [[each.event for each in (await s.query(fait.Query.of(cls))).events] for cls in (Placed, Priced)]

    assert selected == [[Placed("ada")], [Priced(7)]]


async def test_condition_on_a_former_name_is_the_condition_on_the_type(any_url: str) -> None:
    async with opened(any_url) as s:
        before = await s.query(fait.Query(types=("evolution.created",)))
        await s.publish(Placed("ada"), stream="order-1")

        with pytest.raises(fait.AppendConditionFailed):
            await s.append(fait.NewEvents("order-2", [Placed("bob")]), only_if=before)


async def test_upcaster_gets_the_envelope_of_the_stored_event(url: str) -> None:
    seen = list[tuple[Any, ...]]()

    @fait.upcast("evolution.asked", 1, to=("evolution.placed", 3))
    def ask(data: dict[str, Any], envelope: fait.Envelope[fait.Untyped]) -> dict[str, Any]:
        seen.append((envelope.type, envelope.schema_version, envelope.stream, envelope.version, envelope.tags))
        seen.append((envelope.recorded_at, envelope.occurred_at, envelope.metadata.actor, envelope.event.data is data))
        return {"customer": envelope.stream_id}

    async with shop_with(Order, ask).open(url, clock=ManualClock(T0), run="elsewhere") as s:
        await store(s, "evolution.asked", 1, "{}")
        customers = (await s.load(Order, "1")).customers

    assert customers == ["1"]
    assert seen == [("evolution.asked", 1, "order-1", 1, ("kind:test",)), (T0, T0, "tester", True)]


async def test_upcaster_does_not_run_for_current_events(url: str) -> None:
    @fait.event("evolution.plain", version=2)
    class Plain:
        number: int

    def refuse(data: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError

    async with opened(url, Plain, fait.upcast("evolution.plain", 1, refuse)) as s:
        await s.publish(Plain(1), stream="plain-1")

        assert [each.event for each in await s.read("plain-1")] == [Plain(1)]
