"""A definition that is not the stored one: the error says what differs. An opening without a change pays nothing."""

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Self
from uuid import uuid4

import pytest

import fait
from fait._decisions import definition_parts
from fait._decisions.definition_hash import CodeWalk
from fait._store.open import open_store

pytestmark = pytest.mark.anyio


@fait.event("market.ordered")
class Ordered:
    amount: int


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


def totals(share: str, *, version: int = 1) -> tuple[fait.App, Any]:
    """An app whose read model computes with a function."""

    def discount(amount: int) -> Decimal:
        return Decimal(amount) * Decimal(share)

    class Totals(fait.ReadModel, key="id", version=version):
        id: str
        total: Decimal = Decimal(0)

        @classmethod
        def evolve(cls, row: Self | None, event: Ordered, at: fait.Envelope) -> Self | None:
            return cls(id=at.stream_id, total=discount(event.amount) + (row.total if row else 0))

    app = fait.App("market")
    app.include(Totals)
    return app, Totals


def counts() -> fait.App:
    """The same, with other columns and another key."""

    class Totals(fait.ReadModel, key="stream"):
        stream: str
        total: int = 0

        @classmethod
        def evolve(cls, row: Self | None, event: Ordered, at: fait.Envelope) -> Self | None:
            return cls(stream=at.stream_id, total=event.amount + (row.total if row else 0))

    app = fait.App("market")
    app.include(Totals)
    return app


async def refusal(app: fait.App, url: str, **options: Any) -> fait.DefinitionChanged:
    with pytest.raises(fait.DefinitionChanged) as refused:
        async with app.open(url, **options):
            pass
    return refused.value


async def test_changed_read_model_names_code_columns_and_options(url: str) -> None:
    async with totals("1")[0].open(url):
        pass

    function, columns = await refusal(totals("2", version=2)[0], url), await refusal(counts(), url)

    assert isinstance(function, fait.ReadModelChanged)
    assert function.differences == ("the code of discount", "version (2, was 1)")
    assert str(function).startswith(
        "the definition of read model 'totals' changed since its table was built: the code of discount, "
        "version (2, was 1). Nothing was changed; new code does not continue with rows of old code. Rebuild the table "
        "from the log: fait rebuild totals --app"
    )
    assert columns.differences == (
        "the code of Totals.evolve",
        "the code of discount (no longer used)",
        "column stream (new)",
        "column total (integer, was decimal)",
        "column id (removed)",
        "key (stream, was id)",
    )


@pytest.mark.parametrize("option", ["accept", "rebuild"])
async def test_accepted_or_rebuilt_definition_is_compared_from_then_on(url: str, option: str) -> None:
    async with totals("1")[0].open(url):
        pass
    async with totals("2", version=2)[0].open(url, **{option: ["totals"]}):
        pass

    assert (await refusal(totals("2", version=3)[0], url)).differences == ("version (3, was 2)",)
    assert (await refusal(totals("1", version=2)[0], url)).differences == ("the code of discount",)


def reacting(name: str, order_key: Any) -> fait.App:
    app = fait.App("market")

    @app.on(Ordered, name=name, order_key=order_key)
    async def handle(event: Ordered) -> None: ...

    return app


async def test_renamed_handler_keeps_its_definition(url: str) -> None:
    async with reacting("before", "all").open(url):
        pass
    async with reacting("after", "all").open(url, renamed={"before": "after"}):
        pass

    error = await refusal(reacting("after", "stream"), url)

    assert not isinstance(error, fait.ReadModelChanged)
    assert (error.subscription, error.differences) == ("after", ("order key (stream, was all)",))
    assert str(error) == (
        "the definition of handler 'after' changed since it was registered: order key (stream, was all). Nothing was "
        "changed. The keys that have failed are those of the former order: see them with fait parked list after "
        "--store URL, and handle or discard them with the former code. Then continue: fait definition accept after "
        "--app module:app --store URL, or open(url, accept=['after'])."
    )


async def test_relay_that_gets_a_key_names_its_order_key(url: str) -> None:
    def relaying(key: Any) -> fait.App:
        app = fait.App("market")
        app.relay(Ordered, to="memory:market", topic="orders", key=key)
        return app

    async with relaying(None).open(url, run="elsewhere"):
        pass

    error = await refusal(relaying(str), url)

    assert error.differences == ("order key (that of key=, was the stream)",)
    assert "the definition of relay 'relay-orders' changed since it was registered: order key" in str(error)


async def test_consumer_of_another_broker_names_it_without_a_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def consuming(topic: str, broker: str) -> fait.App:
        app = fait.App("market")

        @app.consume(topic, from_=broker, name="orders")
        async def handle(event: Any) -> None: ...

        return app

    monkeypatch.setenv("TOKEN", "t0ken")
    async with consuming("orders", f"memory:{uuid4().hex}").open(url):
        pass

    error = await refusal(consuming("sales", "nats://ada:${TOKEN}@b"), url)

    topic, broker = error.differences
    assert topic == "topic (sales, was orders)"
    assert broker.startswith("broker (nats b, was memory localhost ")
    assert "t0ken" not in str(error)
    assert "Its offsets have no meaning elsewhere: it would pass over messages. If it is the same broker" in str(error)


async def test_without_stored_parts_the_error_says_what_may_differ(url: str) -> None:
    async with totals("1")[0].open(url) as s:
        registration = await s.store.registrations.registration("totals")
        assert registration is not None
        await s.store.registrations.accept(registration)
    unknown = await refusal(totals("2")[0], url)
    async with totals("1")[0].open(url) as s:
        await s.store.registrations.accept(registration, '{"code": 1}')
    other_format = await refusal(totals("2")[0], url)

    assert unknown.differences == other_format.differences == ()
    assert "since its table was built: its evolve or key_of, code or types that these use, its columns, " in str(
        unknown
    )


async def test_process_that_runs_nothing_logs_and_raises_the_differences(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with totals("1")[0].open(url):
        pass
    app, model = totals("2")
    with caplog.at_level(logging.WARNING, "fait"):
        async with app.open(url, run="elsewhere") as s:
            with pytest.raises(fait.ReadModelChanged) as refused:
                await s.find(model)

    assert refused.value.differences == ("the code of discount",)
    assert "read_model=totals differences=the code of discount" in caplog.text


async def test_opening_without_a_change_neither_reads_nor_computes_parts(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = totals("1")
    async with app.open(url):
        pass
    monkeypatch.setattr(CodeWalk, "parts", None)
    monkeypatch.setattr(definition_parts, "parts_from_json", None)

    async with app.open(url):
        pass
    async with app.open(url, run="elsewhere"):
        pass


async def test_stored_parts_can_be_read_from_another_process(url: str) -> None:
    async with totals("1")[0].open(url):
        pass
    store = await open_store(url, create=False)
    text = await store.registrations.definition("totals")
    await store.close()

    assert '"columns":{"id":"text","total":"decimal"}' in text
    assert '"market.ordered":"version 1, ' in text
    assert '"Totals.evolve":"' in text


async def test_other_order_key_is_not_accepted_while_keys_have_failed(url: str) -> None:
    def app_of(order_key: Any) -> fait.App:
        app = fait.App("market")

        @app.on(Ordered, name="note", order_key=order_key, on_failure=fait.FailurePolicy(attempts=1, then="park"))
        def note(event: Ordered) -> None:
            if event.amount < 0:
                raise ValueError("negative")

        return app

    async with app_of("stream").open(url) as s:
        await s.publish(Ordered(-1), stream="order-1")
        with pytest.raises(fait.Stale, match="is parked"):
            await s.wait()
    with pytest.raises(fait.UsageError, match=r"keys of 'note' have failed, such as 'order-1'.*Nothing was changed"):
        async with app_of("all").open(url, accept=["note"], run="elsewhere"):
            pass
    async with app_of("stream").open(url, run="elsewhere") as s:
        assert [each.state for each in await s.store.failures.failures()] == ["parked"]


async def test_rebuild_that_ends_a_pause_is_recorded_as_a_resume(url: str) -> None:
    app, _ = totals("1")
    async with app.open(url, run="elsewhere") as s:
        await s.store.registrations.pause("totals", by="ada", reason="wrong sums")
    async with app.open(url, rebuild=["totals"], run="elsewhere") as s:
        recorded = [each.action for each in await s.store.failures.actions()]
        registration = await s.store.registrations.registration("totals")

    assert recorded == ["resume", "rebuild", "pause"]
    assert registration is not None
    assert not registration.paused


async def test_failed_keys_that_a_rebuild_or_forget_removes_are_counted_in_its_record(url: str) -> None:
    app = fait.App("market")

    class Checked(fait.ReadModel, key="id"):
        id: str

        @classmethod
        def evolve(cls, row: Self | None, event: Ordered, at: fait.Envelope) -> Self | None:
            raise ValueError("negative")

    @app.on(Ordered, name="note", on_failure=fait.FailurePolicy(attempts=1))
    def note(event: Ordered) -> None:  # pyright: ignore[reportUnusedFunction]
        raise ValueError("negative")

    app.include(Checked)
    async with app.open(url) as s, asyncio.timeout(30):
        for number in range(2):
            await s.publish(Ordered(-1), stream=f"order-{number}")
        while [each.state for each in await s.store.failures.failures()] != ["parked"] * 4:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    async with app.open(url, forget=["note"], rebuild=["checked"], run="elsewhere") as s:
        actions = await s.store.failures.actions()
        failures = await s.store.failures.failures()

    assert {(each.action, each.details) for each in actions} == {
        ("forget", '{"failed_keys":2}'), ("rebuild", '{"failed_keys":2}'),
    }  # fmt: skip
    assert failures == []


@pytest.mark.parametrize(
    "changes",
    [{"renamed": {"mail": "letters"}}, {"forget": ["mail"]}, {"rebuild": ["totals"]}, {"accept": ["mail"]}],
    ids=lambda changes: next(iter(changes)),
)
async def test_opening_that_is_refused_changes_nothing(url: str, changes: dict[str, Any]) -> None:
    def declared(share: str, mail: str = "mail", key: Any = "stream") -> fait.App:
        class Counted(fait.ReadModel, key="id", version=len(share)):
            id: str

            @classmethod
            def evolve(cls, row: Self | None, event: Ordered, at: fait.Envelope) -> Self | None:
                return cls(id=at.stream_id)

        app, _ = totals(share)
        app.include(Counted)
        app.on(Ordered, name=mail, order_key=key)(lambda event: None)
        return app

    async def stored(system: fait.System) -> tuple[object, ...]:
        store = system.store
        positions = [(each.key, each.position) for each in await store.leases.ranges()]
        return await store.registrations.registrations(), positions, await store.failures.actions()

    async with declared("1").open(url) as s:
        await s.publish(Ordered(1), stream="order-1")
        await s.wait()
    new = declared("0.5", "letters" if "renamed" in changes else "mail", "all" if "accept" in changes else "stream")
    async with declared("1").open(url, run="elsewhere") as s:
        before = await stored(s)
        with pytest.raises(fait.ReadModelChanged, match="Nothing was changed"):
            async with new.open(url, **changes):
                pass

        assert await stored(s) == before
