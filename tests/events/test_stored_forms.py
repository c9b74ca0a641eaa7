"""Stored events that cannot be read, are appended again under another form, expire, or are shown by tools.

`test_upcasting` has what is read.
"""

import asyncio
import contextlib
import json
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from typer.testing import CliRunner

import fait
from fait._clock import ManualClock
from fait._events.append import StreamWrite
from fait._events.codec import decode_error
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY
from fait._system import System
from fait._tools.cli.commands import fait as command_line
from tests.events.stored_forms import (
    STORED,
    UPCASTERS,
    Customers,
    Delivered,
    DeliveredLater,
    Order,
    Placed,
    Priced,
    Sent,
    app_of,
    finish,
    opened,
    shop_with,
    store,
)

T0 = datetime(2024, 1, 1, tzinfo=UTC)


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


def test_error_of_an_undecodable_event_quotes_no_value() -> None:
    class Color(Enum):
        RED = "red"

    with pytest.raises(msgspec.ValidationError, match="secret") as raised:
        msgspec.json.decode(b'{"a":"secret"}', type=dict[str, Color])
    error = decode_error(raised.value, "order-1", 1, "evolution.placed")

    assert "Invalid enum value - at `$[...]`" in str(error)
    assert "secret" not in str(error)


# Appending again


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
    monkeypatch.setattr("tests.events.test_stored_forms.SHOP", shop_with(Order), raising=False)
    shown = json.loads(
        run_fait("state", "order-1", "-s", url, "--app", "tests.events.test_stored_forms:SHOP", "--json")
    )

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
