"""What a reader may rely on when stored events have other forms than today's classes: a test for each behavior.

`test_readers` runs all readers with all forms; `test_upcast` has the declarations and what is refused.
"""

import asyncio
import contextlib
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner

import fait
from fait._clock import ManualClock
from fait._decisions.aggregate import fold_definition_of
from fait._decisions.load import Loader
from fait._events.append import StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._system import System
from fait._tools.cli.commands import fait as command_line
from tests.events.stored_forms import STORED, UPCASTERS, Placed, Priced, store

T0 = datetime(2024, 1, 1, tzinfo=UTC)


class Order(fait.Aggregate, category="order", snapshot_every=2):
    customers: list[str] = fait.field(default_factory=list[str])

    def add(self, customer: str) -> int:
        self.emit(Placed(customer))
        return len(self.customers)

    def evolve(self, event: Placed) -> None:
        self.customers.append(event.customer)


class Customers(fait.ReadModel, key="id"):
    id: str
    names: str

    @classmethod
    def evolve(cls, row: Self | None, event: Placed, envelope: fait.Envelope) -> Self | None:
        return cls(id=envelope.stream_id, names=f"{row.names if row else ''}{event.customer} ")


def shop_with(*included: Any) -> fait.App:
    """Return an app with the stored forms and what a test adds."""
    app = fait.App("shop")
    app.include(Placed, Priced, *UPCASTERS, *included)
    return app


@asynccontextmanager
async def opened(url: str, *included: Any) -> AsyncIterator[System]:
    """Open such an app, without subscriptions."""
    async with shop_with(*included).open(url, run="elsewhere") as s:
        yield s


async def store_split(s: System) -> None:
    await store(s, *STORED["split"][:3])


class FirstAttempt:
    """What a processor tells a subscription."""

    attempt, conflicts, stopping = 1, 0, False


async def finish(s: System, customer: str = "end") -> fait.WriteResult[None]:
    """Append an event, and wait until all subscriptions have handled it."""
    end = await s.publish(Placed(customer), stream="order-1")
    await s.wait(end, timeout_s=30)
    return end


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
        for task in s._subscription_runner._tasks:
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
        subscription = s._subscription_runner.processors["answer"]._subscription
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
            await asyncio.sleep(0.1)  # the system is being closed before the call returns

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
        log: Any = s.store.log

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
        log: Any = s.store.log
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


# What cannot be read


@pytest.mark.parametrize(
    ("form", "error"),
    [(("evolution.placed", 5, "{}"), fait.EventTooNew), (("evolution.unheard", 1, "{}"), fait.UnknownEventType)],
)
async def test_fold_stops_at_what_it_cannot_read(form: Any, error: type[Exception], url: str) -> None:
    async with opened(url, Order) as s:
        await s.publish(Placed("ada"), stream="order-1")
        await store(s, *form)

        with pytest.raises(error, match="event 2 of stream 'order-1'"):
            await s.load(Order, "1")
        with pytest.raises(error, match="event 2 of stream 'order-1'"):
            await s.transact(Order.add, "1", "bob")


async def test_reads_and_read_models_stop_at_a_newer_version(url: str) -> None:
    async with shop_with(Customers).open(url) as s:
        await store(s, "evolution.placed", 5, "{}")
        for reading in (s.read("order-1"), s.query(fait.Query.of(Placed)), s.query(fait.Query())):
            with pytest.raises(fait.EventTooNew):
                await reading
        with pytest.raises(fait.EventTooNew):
            _ = [each async for each in s.events()]
        with pytest.raises(fait.Stale):
            await s.wait(timeout_s=0.2)
        [status] = await s.status()

    assert isinstance(status.error, fait.EventTooNew)


async def test_unknown_type_is_skipped_by_subscriptions_and_read_as_untyped(url: str) -> None:
    app, seen = shop_with(Customers), list[Any]()
    app.on(Placed, name="typed", start="beginning")(lambda event: seen.append(event.customer))
    app.on(fait.Untyped, name="untyped", start="beginning")(seen.append)
    async with app.open(url) as s:
        await store(s, "evolution.unheard", 7, "not decoded unless handled".join('""'))
        rows = await s.find(Customers, after=await finish(s))
        events = [each.event async for each in s.events()]

    unheard = fait.Untyped("evolution.unheard", "not decoded unless handled", 7)
    assert (seen.count("end"), seen.count(unheard), len(seen)) == (1, 1, 2)
    assert events == [unheard, Placed("end")]
    assert rows[0].names == "end "


async def test_read_model_without_the_former_name_is_another_definition_and_reads_no_such_event(tmp_path: Path) -> None:
    @fait.event("evolution.delivered", version=2)
    class WithoutFormerName:
        text: str

    def texts_of(event: Any) -> Any:
        class Texts(fait.ReadModel, key="id"):
            id: str
            text: str

            @classmethod
            def evolve(cls, row: Self | None, event: event, envelope: fait.Envelope) -> Self | None:  # type: ignore[valid-type]
                return cls(id=envelope.stream_id, text=event.text)

        return Texts

    url = f"sqlite:///{tmp_path}/post.db"
    async with app_of(texts_of(Delivered)).open(url) as s:
        await store(s, "evolution.sent", 2, '{"text":"hello"}')
        await s.wait(timeout_s=30)
    app = app_of(texts := texts_of(WithoutFormerName))
    with pytest.raises(fait.ReadModelChanged):
        async with app.open(url):
            pass
    async with app.open(url, rebuild=["texts"]) as s:
        await s.wait(timeout_s=30)
        assert [*await s.find(texts)] == []


async def test_result_of_a_split_that_is_too_new_names_the_stored_event(url: str) -> None:
    @fait.upcast("evolution.several", 1, into=("evolution.placed",))
    def several(data: Any) -> list[fait.Untyped]:
        return [fait.Untyped("evolution.placed", data, 9)]

    async with opened(url, several, Order) as s:
        await store(s, "evolution.several", 1, "{}")

        with pytest.raises(fait.EventTooNew, match="event 1 of stream 'order-1'"):
            await s.load(Order, "1")


async def test_failing_upcaster_is_retried_and_skipped_as_the_policy_says(url: str) -> None:
    attempts, seen = list[int](), list[str]()

    def fail(data: dict[str, Any]) -> dict[str, Any]:
        attempts.append(1)
        raise ValueError("secret")

    app = shop_with(fait.upcast("evolution.broken", 1, fail, to=("evolution.placed", 3)))
    policy = fait.FailurePolicy(initial_s=0.001, attempts=3, then="skip")
    app.on(Placed, name="collect", start="beginning", on_failure=policy)(lambda event: seen.append(event.customer))
    async with app.open(url) as s:
        await store(s, "evolution.broken", 1, "{}")
        await finish(s)
        with pytest.raises(fait.UndecodableEvent) as raised:
            await s.read("order-1")

    assert (len(attempts), seen) == (4, ["end"])
    assert "ValueError" in str(raised.value)
    assert "secret" not in str(raised.value)


# Appending again


@fait.event("evolution.sent", version=2)
class Sent:
    text: str


@fait.event("evolution.delivered", version=2, was=("evolution.sent",))
class Delivered:
    text: str


@fait.event("evolution.delivered", version=3, was=("evolution.sent",))
class DeliveredLater:
    text: str
    at: str = "door"


def app_of(event: Any, *upcasters: Any) -> fait.App:
    app = fait.App("post")
    app.include(event, *upcasters)
    return app


def new_name_as_old() -> fait.Upcaster:
    """Return what lets code with the old name read events under the new one."""
    return fait.upcast("evolution.delivered", 2, lambda data: data, to=("evolution.sent", 2))


@pytest.fixture(params=["sqlite", "postgres 18"])
def durable_url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.mark.parametrize("options", [{"key": "k"}, {"id": fait.new_id()}])
@pytest.mark.parametrize("later", [Delivered, DeliveredLater])
async def test_append_is_repeated_after_its_type_was_renamed(later: Any, options: Any, durable_url: str) -> None:
    id = {"id": options["id"]} if "id" in options else {}
    key = {"key": options["key"]} if "key" in options else {}
    results = list[Any]()
    for app, event in [
        (app_of(Sent), Sent("hello")),
        (app_of(later), later("hello")),
        (app_of(Sent, new_name_as_old()), Sent("hello")),
    ]:
        async with app.open(durable_url, run="elsewhere") as s:
            results.append(await s.using(**key).publish(event, stream="post-1", **id))
            assert len(await s.read("post-1")) == 1

    assert [each.repeated for each in results] == [False, True, True]
    assert len({each.position for each in results}) == 1


async def test_append_under_the_new_name_is_repeated_by_code_with_the_old_one(tmp_path: Path) -> None:
    url, repeated = f"sqlite:///{tmp_path}/post.db", list[bool]()
    for app, event in [(app_of(Delivered), Delivered("x")), (app_of(Sent, new_name_as_old()), Sent("x"))]:
        async with app.open(url, run="elsewhere") as s:
            repeated.append((await s.using(key="k").publish(event, stream="post-1")).repeated)
            assert [each.event for each in await s.read("post-1")] == [event]

    assert repeated == [False, True]


async def test_append_of_another_type_under_the_key_is_refused_after_a_renaming(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/post.db"
    async with app_of(Sent).open(url, run="elsewhere") as s:
        await s.using(key="k").publish(Sent("x"), stream="post-1")
    app = app_of(Delivered)
    app.include(Placed, *UPCASTERS, Priced)
    async with app.open(url, run="elsewhere") as s:
        with pytest.raises(fait.KeyReused):
            await s.using(key="k").publish(Placed("x"), stream="post-1")
        with pytest.raises(fait.KeyReused):
            await s.using(key="k").publish(Delivered("x"), stream="post-2")


@pytest.mark.filterwarnings("ignore:SQLite")
async def test_outbox_repeats_an_event_whose_type_was_renamed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/post.db"
    for app, event in [(app_of(Sent), Sent("hello")), (app_of(Delivered), Delivered("hello"))]:
        async with app.open(url, run="elsewhere"):
            pass
        with contextlib.closing(sqlite3.connect(tmp_path / "post.db")) as connection, connection:
            connection.execute("BEGIN")
            app.outbox(connection).add(event, stream="post-1", key="k")
    async with app.open(url, run="elsewhere") as s:
        events = [each.event for each in await s.read("post-1")]

    assert events == [Delivered("hello")]


async def test_handler_repeats_an_event_whose_type_was_renamed(durable_url: str) -> None:
    async with app_of(Sent).open(durable_url, run="elsewhere") as s:
        await s.using(key="k").publish(Sent("hello"), stream="post-1")
    app, repeated = app_of(Delivered), list[bool]()
    app.include(Placed, *UPCASTERS, Priced)

    @app.on(Placed, start="beginning")
    async def deliver(event: Placed, ctx: fait.Context) -> None:
        repeated.append((await ctx.using(key="k").publish(Delivered("hello"), stream="post-1")).repeated)

    async with app.open(durable_url) as s:
        await finish(s)
        events = [each.event for each in await s.read("post-1")]

    assert (repeated[-1], events) == (True, [Delivered("hello")])


async def test_command_is_repeated_after_its_event_was_renamed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/post.db"

    def mailbox(event: Any) -> Any:
        class Mailbox(fait.Aggregate, category="mailbox"):
            count: int = 0

            def send(self, text: str) -> int:
                self.emit(event(text))
                return self.count

            def evolve(self, event: event) -> None:  # type: ignore[valid-type]
                self.count += 1

        return Mailbox

    results = list[Any]()
    for event in (Sent, Delivered):
        cls = mailbox(event)
        async with app_of(cls).open(url, run="elsewhere") as s:
            results.append(await s.using(key="k").transact(cls.send, "1", "hello"))

    assert [(each.value, each.version, each.repeated) for each in results] == [(1, 1, False), (1, 1, True)]


async def test_class_of_an_older_version_cannot_be_appended(url: str) -> None:
    async with app_of(Delivered).open(url, run="elsewhere") as s:
        for older in (Sent("x"), fait.Untyped("evolution.delivered", {"text": "x"}, 1)):
            with pytest.raises((fait.UsageError, fait.DeclarationError)):
                await s.publish(older, stream="post-1")

        assert await s.store.log.head() == 0


# Messages


@fait.event("evolution.rang", version=2, was=("evolution.called",), expires=timedelta(hours=1))
class Rang:
    number: int


@fait.upcast("evolution.rang", 1)
def with_number(data: dict[str, Any], envelope: fait.Envelope[fait.Untyped]) -> dict[str, Any]:
    return {"number": envelope.version}


async def store_calls(s: System) -> None:
    for name, version, data in [("evolution.called", 1, "{}"), ("evolution.rang", 1, "{}")]:
        event = EncodedEvent(name, version, fait.new_id(), data, expires=True)
        await s.store.log.append([StreamWrite("bell-1", (event,), ANY)])


async def test_message_of_an_older_form_is_handled_and_expires(any_url: str) -> None:
    app, seen, clock = app_of(Rang, with_number), list[int](), ManualClock(T0)
    app.on(Rang, name="ring", start="beginning")(lambda event: seen.append(event.number))
    async with app.open(any_url, clock=clock) as s:
        await store_calls(s)
        await s.wait(await s.publish(Rang(7), stream="bell-1"), timeout_s=30)
        clock.moment += timedelta(hours=2)
        last = await s.publish(Rang(8), stream="bell-1")
        await s.wait(last, timeout_s=30)
        await s._subscription_runner.retention.sweep()
        remaining = [each.event for each in await s.read("bell-1")]

    assert seen == [1, 2, 7, 8]
    assert remaining == [Rang(8)]


# Consumers that read two versions


async def test_handler_learns_the_stored_schema_version_from_its_context(url: str) -> None:
    app, seen = shop_with(), list[tuple[str, int]]()

    @app.on(Placed, start="beginning")
    def note(event: Placed, ctx: fait.Context) -> None:
        seen.append((event.customer, ctx.schema_version))

    async with app.open(url) as s:
        await store(s, *STORED["older version of the first name"][:3])
        await store(s, *STORED["newer version"][:3])
        await finish(s)

    assert seen == [("ada", 1), ("ada", 4), ("end", 3)]


async def test_handler_of_untyped_events_reads_each_version_as_stored(url: str) -> None:
    app, seen = fait.App("billing"), list[str]()

    @app.on(fait.Untyped, start="beginning")
    def note(event: fait.Untyped, ctx: fait.Context) -> None:
        assert ctx.schema_version == event.schema_version
        if event.type == "evolution.placed":
            seen.append(event.data["customer" if event.schema_version > 1 else "customer_name"])

    async with app.open(url) as s:
        for form in ("upcast", "current", "dropped"):
            await store(s, *STORED[form][:3])
        await s.wait(timeout_s=30)

    assert seen == ["ada", "ada"]


# Tools


@pytest.fixture
def stored_forms_url(tmp_path: Path) -> Callable[[], Any]:
    async def create() -> str:
        url = f"sqlite:///{tmp_path}/shop.db"
        async with opened(url) as s:
            for name, schema_version, data, _ in STORED.values():
                await store(s, name, schema_version, data)
        return url

    return create


def run_fait(*arguments: object) -> str:
    completed = CliRunner().invoke(command_line, [str(each) for each in arguments], catch_exceptions=False)
    assert completed.exit_code == 0, completed.stderr
    return completed.stdout


@pytest.mark.parametrize("command", [["events"], ["stream", "order-1"]])
def test_command_line_shows_events_as_stored(command: list[str], stored_forms_url: Callable[[], Any]) -> None:
    url = asyncio.run(stored_forms_url())
    lines = [json.loads(line) for line in run_fait(*command, "-s", url, "--json").splitlines()]

    assert [(each["type"], each["schema_version"], each["data"]) for each in lines] == [
        (name, schema_version, json.loads(data)) for name, schema_version, data, _ in STORED.values()
    ]


def test_state_of_the_command_line_is_that_of_the_app(
    stored_forms_url: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = asyncio.run(stored_forms_url())
    monkeypatch.setattr("tests.events.test_upcasting.SHOP", shop_with(Order), raising=False)
    shown = json.loads(run_fait("state", "order-1", "-s", url, "--app", "tests.events.test_upcasting:SHOP", "--json"))

    assert shown["state"]["customers"][:3] == ["ada"] * 3
    assert "order-1 v9 tester" in shown["state"]["customers"]


def test_export_and_import_keep_the_stored_forms(stored_forms_url: Callable[[], Any], tmp_path: Path) -> None:
    url, copy = asyncio.run(stored_forms_url()), f"sqlite:///{tmp_path}/copy.db"
    (tmp_path / "events.jsonl").write_text(run_fait("export", "-s", url))
    run_fait("import", tmp_path / "events.jsonl", "-s", copy)

    async def customers(url: str) -> list[str]:
        async with opened(url, Order) as s:
            return (await s.load(Order, "1")).customers

    copied = asyncio.run(customers(copy))
    assert [each.partition(" v")[0] for each in copied] == [
        each.partition(" v")[0] for each in asyncio.run(customers(url))
    ]
    assert len(copied) == sum(len(customers) for *_, customers in STORED.values())


# Keys that the class does not have


async def test_unknown_key_is_reported_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    @fait.event("evolution.reported-" + url[:3], version=2)
    class Reported:
        name: str

    app = fait.App("shop")
    app.include(Reported)
    async with app.open(url, run="elsewhere") as s:
        for _ in range(3):
            await store(s, "evolution.reported-" + url[:3], 2, '{"name":"ada","nick":"a","age":3}')
            await store(s, "evolution.reported-" + url[:3], 1, '{"name":"ada","vanished":1}')
        events = [each.event for each in await s.read("order-1")]

    assert events == [Reported("ada")] * 6
    assert sorted(re.findall(r" key=(\w+)", caplog.text)) == ["age", "nick", "vanished"]
    assert "fait.renamed('nick', ...)" in caplog.text
