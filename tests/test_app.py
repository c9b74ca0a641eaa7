"""Declaring and opening an app: declarations are resolved once; checks before subscriptions start; status."""

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest

import fait
import fait.store
from fait._store.ports.leases import Worker
from fait.testing.contract.leases import range_of, work_of
from fait.testing.contract.turns import let_readers_wait


@fait.event("app.happened")
class Happened:
    pass


def counts(columns: int = 1, version: int = 1) -> type[fait.ReadModel]:
    if columns == 1:

        class Counts(fait.ReadModel, key="id", version=version):
            id: str

            @classmethod
            def evolve(cls, row: Self | None, event: Happened, at: fait.Envelope) -> Self | None:
                return cls(id=at.stream_id)

        return Counts

    class Counts(fait.ReadModel, key="id"):  # type: ignore[no-redef]
        id: str
        number: int = 0

        @classmethod
        def evolve(cls, row: Self | None, event: Happened, at: fait.Envelope) -> Self | None:
            return cls(id=at.stream_id, number=(row.number if row else 0) + 1)

    return Counts


def app_with(*reactors: str, model: type[fait.ReadModel] | None = None, name: str = "app") -> fait.App:
    app = fait.App(name)
    if model is not None:
        app.include(model)
    for each in reactors:
        app.on(Happened, name=each)(_nothing)
    return app


async def _nothing(event: Happened) -> None: ...


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/app.db"


async def positions(system: fait.System) -> dict[str, int]:
    return {each.key.subscription: each.position for each in await system.store.leases.ranges()}


async def test_open_with_renamed_subscription_raises_until_it_is_renamed_or_forgotten(url: str) -> None:
    async with app_with("old", "kept").open(url) as s:
        await s.wait(await s.publish(Happened(), stream="x-1"))
        await s.status()

    with pytest.raises(
        fait.SubscriptionsChanged, match=r"checkpoints of the subscriptions 'old'.*subscriptions 'new'"
    ) as changed:
        async with app_with("new", "kept").open(url):
            pass

    assert (changed.value.removed, changed.value.added) == (("old",), ("new",))
    async with app_with("new", "kept").open(url, renamed={"old": "new"}, run="elsewhere") as s:
        assert await positions(s) == {"kept": 1, "new": 1}
    async with app_with("newer", "kept").open(url, forget=["new"], run="elsewhere") as s:
        await s.publish(Happened(), stream="x-1")
        assert await positions(s) == {"kept": 1, "newer": 1}


async def test_open_with_only_added_or_only_removed_subscription_starts(url: str) -> None:
    async with app_with("one").open(url):
        pass
    async with app_with("one", "two").open(url):
        pass
    async with app_with("two").open(url) as s:
        assert set(await positions(s)) == {"one", "two"}


async def test_open_with_changed_read_model_raises_until_rebuilt(url: str) -> None:
    async with app_with(model=counts()).open(url) as s:
        await s.wait(await s.publish(Happened(), stream="x-1"))

    for changed in (counts(columns=2), counts(version=2)):
        with pytest.raises(fait.ReadModelChanged, match="fait rebuild counts"):
            async with app_with(model=changed).open(url):
                pass

    wider = counts(columns=2)
    async with app_with(model=wider).open(url, rebuild=["counts"]) as s:
        await s.wait(None, wider)
        assert [row.number for row in await s.find(wider)] == [1]  # type: ignore[attr-defined]


async def test_open_with_rebuild_of_unknown_read_model_raises(url: str) -> None:
    with pytest.raises(fait.UsageError, match=r"no read model 'conts'\. Its read models: counts"):
        async with app_with(model=counts()).open(url, rebuild=["conts"]):
            pass


async def test_open_with_checkpoint_beyond_head_raises(url: str, tmp_path: Path) -> None:
    async with app_with("one").open(url, run="elsewhere") as s:
        await s.publish(Happened(), stream="x-1")
    shutil.copy(tmp_path / "app.db", tmp_path / "backup.db")
    async with app_with("one").open(url) as s:
        await s.wait(await s.publish(Happened(), stream="x-1"))
        assert await positions(s) == {"one": 2}
    async with app_with("one").open(f"sqlite:///{tmp_path}/backup.db", run="elsewhere") as s:
        current, epoch_id = await range_of(s.store, "one"), s.store.log.identity.epoch_id
        await s.store.leases.heartbeat(Worker("x"))
        acquired = await s.store.leases.acquire(current, "x", "", epoch_id)
        assert acquired is not None
        assert await s.store.recorder.record(work_of(acquired, 2)) == "recorded"

    with pytest.raises(fait.CheckpointMismatch, match="at position 2, the log ends at 1"):
        async with app_with("one").open(f"sqlite:///{tmp_path}/backup.db"):
            pass


async def test_open_of_subscription_of_another_app_raises(url: str) -> None:
    async with app_with("one").open(url), app_with("two", name="other").open(url) as s:
        assert set(await positions(s)) == {"one", "two"}

    with pytest.raises(fait.DeclarationError, match="belongs to the app 'app'"):
        async with app_with("one", name="other").open(url, forget=["two"]):
            pass


async def test_duplicate_subscription_names_raise() -> None:
    app = app_with("one")
    with pytest.raises(fait.DeclarationError, match="two reactors are named 'one'"):
        app.on(Happened, name="one")(_another)
    with pytest.raises(fait.DeclarationError, match="two subscriptions are named 'counts'"):
        app_with("counts", model=counts())._resolve()
    with pytest.raises(fait.DeclarationError, match="include takes"):
        app.include("a string")


async def _another(event: Happened) -> None: ...


@pytest.mark.parametrize("other", ["counts", "Counts", "COUNTS"])
async def test_two_read_models_of_one_table_raise_even_if_the_case_differs(other: str) -> None:
    class Copy(fait.ReadModel, key="id", table=other):
        id: str

        @classmethod
        def evolve(cls, row: Self | None, event: Happened, at: fait.Envelope) -> Self | None: ...

    app = app_with(model=counts())
    app.include(Copy)
    with pytest.raises(fait.DeclarationError, match=f"two read models have the table '{other}'"):
        app._resolve()


@pytest.mark.filterwarnings("ignore:SQLite 3")
async def test_handler_declared_after_outbox_is_in_next_system_and_not_in_open_one(url: str) -> None:
    app = app_with("one")
    async with app.open(url, run="elsewhere") as s:
        with sqlite3.connect(":memory:") as connection:
            app.outbox(connection)
        app.on(Happened, name="two")(_nothing)

        assert [each.name for each in await s.status()] == ["one"]

    async with app.open(url, run="elsewhere") as s:
        assert [each.name for each in await s.status()] == ["one", "two"]


async def test_failed_resolution_raises_at_each_use_and_leaves_nothing_behind(url: str) -> None:
    class Other(fait.ReadModel, key="id", table="counts"):
        id: str

        @classmethod
        def evolve(cls, row: Self | None, event: Happened, at: fait.Envelope) -> Self | None:
            return row

    app = app_with(model=counts())
    before = app._resolve()
    app.include(Other)

    for _ in range(2):
        with pytest.raises(fait.DeclarationError, match="two read models have the table 'counts'"):
            async with app.open(url):
                pass
        with sqlite3.connect(":memory:") as connection, pytest.raises(fait.DeclarationError, match="two read models"):
            app.outbox(connection)
    assert list(before.read_models) == ["counts"]


async def test_declarations_are_resolved_again_only_after_another_object_was_included() -> None:
    app = app_with("one")
    first = app._resolve()
    assert app._resolve() is first
    app.include(Tallied)

    assert app._resolve() is not first
    assert (list(first.registry.types), list(app._resolve().registry.types)) == (
        ["app.happened"],
        ["app.happened", "tally.tallied"],
    )


def test_resolve_of_object_included_twice_keeps_it_once() -> None:
    cart = fait.Decider(category="cart", initial=int, decide=_decide, evolve=_evolve)
    limit = fait.Boundary(
        name="limit", depends_on=lambda _: fait.Query(), initial=int, decide=_decide_limit, evolve=_evolve
    )
    app = fait.App("app")
    app.include(cart, limit, Tally, cart, limit, Tally)

    declarations = app._resolve()

    assert (declarations.deciders, declarations.boundaries) == ((cart,), (limit,))
    assert [each.cls for each in declarations.read_models.values()] == [Tally]
    assert list(declarations.registry.types) == ["app.happened", "tally.tallied"]


def test_only_keeps_these_read_models_and_no_reactor() -> None:
    app = app_with("one", model=counts())
    app.include(Tally)
    declarations = app._resolve()

    subset = declarations.only(read_models=["tally"])

    assert (list(subset.read_models), dict(subset.reactors)) == (["tally"], {})
    assert subset.registry is declarations.registry
    assert (list(declarations.read_models), list(declarations.reactors)) == (["counts", "tally"], ["one"])
    with pytest.raises(
        fait.UsageError, match=r"the app 'app' has no read model 'one'\. Its read models: counts, tally"
    ):
        declarations.only(read_models=["one"])


def test_declarations_and_registry_cannot_be_changed() -> None:
    declarations = app_with("one", model=counts())._resolve()

    for value in (declarations, declarations.registry):
        for field in value.__struct_fields__:
            with pytest.raises(AttributeError):
                setattr(value, field, None)
    for mapping in (
        declarations.aggregates,
        declarations.read_models,
        declarations.reactors,
        declarations.registry.types,
        declarations.registry.upcasters,
    ):
        with pytest.raises(TypeError):
            mapping["new"] = None  # type: ignore[index]


@fait.event("app.forgotten")
class Forgotten:
    pass


class Box(fait.Aggregate, category="box"):
    def forget(self) -> None:
        self.emit(Forgotten())

    def evolve(self, event: Forgotten) -> None: ...


def _fold(state: int, event: Forgotten) -> int:
    return state + 1


def _forget(command: str, state: int) -> list[Any]:
    return [Forgotten()]


def _forget_in_stream(command: str, state: int) -> list[fait.NewEvents]:
    return [fait.NewEvents("x-1", [Forgotten()])]


FORGETFUL = fait.Decider(category="forgetful", initial=int, decide=_forget, evolve=_fold)
FORGETTING = fait.Boundary(
    name="forgetting", depends_on=lambda _: fait.Query(), initial=int, decide=_forget_in_stream, evolve=_fold
)

APPENDS: dict[str, Callable[[fait.System | fait.Context], Awaitable[Any]]] = {
    "publish": lambda s: s.publish(Forgotten(), stream="x-1"),
    "append": lambda s: s.append(fait.NewEvents("x-1", [Happened(), Forgotten()])),
    "transact": lambda s: s.transact(Box.forget, "1"),
    "decider": lambda s: s.decide(FORGETFUL, "1", "x"),
    "boundary": lambda s: s.decide(FORGETTING, "x"),
}
"""Calls that append an event whose class the app does not include."""


@pytest.mark.parametrize("place", ["system", "handler"])
@pytest.mark.parametrize("call", APPENDS.values(), ids=APPENDS)
async def test_append_of_an_event_that_is_not_included_writes_nothing(
    call: Callable[[Any], Awaitable[Any]], place: str, url: str
) -> None:
    app, raised = fait.App("app"), list[str]()

    @app.on(Happened)
    async def append_all(event: Happened, ctx: fait.Context) -> None:
        with pytest.raises(fait.UsageError) as error:
            await call(ctx)
        raised.append(str(error.value))

    async with app.open(url) as s:
        if place == "handler":
            await s.wait(await s.publish(Happened(), stream="y-1"))
        else:
            with pytest.raises(fait.UsageError) as error:
                await call(s)
            raised.append(str(error.value))
        assert [each.type async for each in s.events()] == ["app.happened"] * (place == "handler")
    [message] = raised
    assert message == (
        f"the event class {__name__}.Forgotten is not included in the app, which would read the event as Untyped. "
        "Nothing was written: before the app is opened, call app.include(Forgotten), or include an aggregate, a "
        "decider, a boundary, a read model or a handler that handles it."
    )


@pytest.mark.parametrize("included", [Forgotten, Box, FORGETFUL, FORGETTING])
async def test_event_is_included_by_itself_and_by_all_that_fold_it(included: Any, url: str) -> None:
    app = fait.App("app")
    app.include(included)
    async with app.open(url) as s:
        await s.publish(Forgotten(), stream="x-1")
        assert [each.event for each in await s.read("x-1")] == [Forgotten()]


def test_outbox_refuses_an_event_that_is_not_included(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "app.db", isolation_level=None) as connection:
        connection.execute("BEGIN")
        with pytest.raises(fait.UsageError, match=r"app\.include\(Forgotten\)"):
            fait.App("app").outbox(connection).add(Forgotten(), stream="x-1")
    connection.close()


async def test_load_of_an_aggregate_that_is_not_included_folds_its_events(url: str) -> None:
    writer = fait.App("writer")
    writer.include(FORGETFUL)
    async with writer.open(url) as s:
        await s.decide(FORGETFUL, "1", "x")
    async with fait.App("reader").open(url) as s:
        assert await s.load(FORGETFUL, "1") == 1
        assert [type(each.event) for each in await s.read("forgetful-1")] == [fait.Untyped]


async def test_publish_of_another_class_of_one_name_raises(url: str) -> None:
    @fait.event("app.happened")
    class Other:
        pass

    async with app_with("one").open(url, run="elsewhere") as s:
        with pytest.raises(fait.DeclarationError, match="two events are named"):
            await s.publish(Other(), stream="x-1")
        assert await s.store.log.head() == 0


@pytest.mark.parametrize("kept", ["old", "new"])
async def test_advice_for_two_checkpoints_of_a_renamed_subscription_can_be_followed(kept: str, url: str) -> None:
    async with app_with("old").open(url) as s:
        await s.wait(await s.publish(Happened(), stream="x-1"))
    async with app_with("old").open(url, run="elsewhere") as s:
        await s.publish(Happened(), stream="x-1")
    async with app_with("old", "new").open(url, run="elsewhere") as s:
        before = await positions(s)
    assert before == {"new": 2, "old": 1}
    advice = r"continue at that of 'new'.*forget=\['old'\].*continue at that of 'old'.*forget=\['new'\]"
    with pytest.raises(fait.UsageError, match=advice):
        async with app_with("new").open(url, renamed={"old": "new"}, run="elsewhere"):
            pass

    if kept == "new":
        async with app_with("new").open(url, forget=["old"], run="elsewhere") as s:
            assert await positions(s) == {"new": before["new"]}
        return
    async with app_with("new").open(url, renamed={"old": "new"}, forget=["new"], run="elsewhere") as s:
        assert await positions(s) == {"new": before["old"]}


def test_threads_that_resolve_and_include_at_once_get_consistent_declarations() -> None:
    app, names = fait.App("app"), [f"handler_{number}" for number in range(40)]
    start = threading.Barrier(5)

    def read() -> list[list[str]]:
        start.wait()
        return [list(app._resolve().reactors) for _ in range(200)]

    def declare() -> None:
        start.wait()
        for name in names:
            app.on(Happened, name=name)(_nothing)

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        pool.submit(declare).result()

    for seen in (each for reader in readers for each in reader.result()):
        assert seen == names[: len(seen)]
    assert list(app._resolve().reactors) == names


def _decide(command: int, state: int) -> list[Happened]:
    return [Happened()] * command


def _decide_limit(command: int, state: int) -> list[fait.NewEvents]:
    return []


def _evolve(state: int, event: Happened) -> int:
    return state


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://user:secret@host/0", r"redis://user:\*\*\*@host/0"),
        ("sqlite:///", "names no file"),
        ("redis:", "it must start with one of memory:, sqlite:"),
        ("library.db", "unknown store URL 'library.db': for a file, write sqlite:///library.db"),
        ("postgres://user:secret@host/db", r"write postgresql://user:\*\*\*@host/db"),
        ("postgresql+asyncpg://host/db", "write postgresql://host/db"),
    ],
)
async def test_open_with_unknown_url_raises_without_the_password(url: str, message: str) -> None:
    with pytest.raises(fait.UsageError, match=message) as refused:
        async with app_with().open(url):
            pass
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "message"), [("missing/app.db", "the directory exists"), ("a.txt", "is not an SQLite database")]
)
async def test_open_of_file_that_is_no_database_raises(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "a.txt").write_text("not a database, but long enough to look like something else" * 50)

    with pytest.raises(fait.StoreUnavailable, match=message):
        async with app_with().open(f"sqlite:///{tmp_path}/{path}"):
            pass


async def test_open_without_create_of_missing_store_raises_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(fait.UsageError, match="there is no store"):
        async with app_with().open(f"sqlite:///{tmp_path}/none.db", create=False):
            pass
    assert not (tmp_path / "none.db").exists()


async def test_status_returns_position_and_lag_of_each_subscription(url: str) -> None:
    async with app_with("one", model=counts()).open(url) as s:
        await s.wait(await s.publish(Happened(), stream="x-1"))
        await s.wait()

        assert [(each.name, each.position, each.lag) for each in await s.status()] == [("counts", 1, 0), ("one", 1, 0)]


async def test_open_with_forgotten_read_model_and_old_rows_raises_until_rebuilt(
    store_url: Callable[[str], str],
) -> None:
    url = store_url("sqlite")

    def app(*models: type) -> fait.App:
        app = fait.App("tally")
        app.include(Tallied, *models)
        return app

    async with app(Tally).open(url) as s:
        await s.publish(Tallied(3), stream="tallied-1")
        await s.wait()
    async with app().open(url, forget=["tally"]):
        pass

    for _ in range(2):  # a second attempt must fail as well
        with pytest.raises(fait.UsageError, match=r"rebuild=\['tally'\]"):
            async with app(Tally).open(url):
                pass

    async with app(Tally).open(url, rebuild=["tally"]) as s:
        await s.wait()
        assert [row.total for row in await s.find(Tally)] == [3]


async def test_notify_commit_without_new_events_keeps_readers_waiting(store_url: Callable[[str], str]) -> None:
    async with fait.App("notified").open(store_url("sqlite")) as s:
        waiting = asyncio.create_task(s.store.log.wait_for_events(0))
        await let_readers_wait(s.store.log)
        s._notify_commit()
        await let_readers_wait(s.store.log)
        assert not waiting.done()
        waiting.cancel()


@fait.event("tally.tallied")
class Tallied:
    number: int


class Tally(fait.ReadModel, key="id", table="tally"):
    id: str
    total: int

    @classmethod
    def evolve(cls, row: "Tally | None", event: Tallied, at: fait.Envelope) -> "Tally | None":
        return cls(id=at.stream_id, total=(row.total if row else 0) + event.number)


async def test_misspelled_name_of_a_removed_subscription_is_refused(url: str) -> None:
    async with app_with("old", "kept").open(url):
        pass

    for options in ({"forget": ["odl"]}, {"renamed": {"odl": "kept"}}):
        with pytest.raises(fait.UsageError, match=r"never had a subscription 'odl'.*no longer declares: old\. Nothing"):
            async with app_with("kept").open(url, **options):  # type: ignore[arg-type]
                pass

    async with app_with("kept").open(url) as s:
        assert set(await positions(s)) == {"old", "kept"}


async def test_forget_and_renamed_may_stay_in_the_code(url: str) -> None:
    async with app_with("old", "gone", "kept").open(url):
        pass
    for names in (["new", "kept"], ["new", "kept"], ["new"]):  # the last one removes another without forget=
        for _ in range(2):
            async with app_with(*names).open(url, forget=["gone"], renamed={"old": "new"}) as s:
                assert set(await positions(s)) == {"new", "kept"}


async def test_forget_and_renamed_are_ignored_by_a_new_store(url: str) -> None:
    for _ in range(2):
        async with app_with("new").open(url, forget=["gone"], renamed={"old": "new"}) as s:
            assert set(await positions(s)) == {"new"}


async def test_renamed_read_model_is_refused_because_its_rows_stay_in_the_old_table(url: str) -> None:
    async with app_with(model=counts()).open(url) as s:
        await s.wait(await s.publish(Happened(), stream="x-1"))

    class Renamed(fait.ReadModel, key="id"):
        id: str

        @classmethod
        def evolve(cls, row: Self | None, event: Happened, at: fait.Envelope) -> Self | None:
            return cls(id=at.stream_id)

    with pytest.raises(fait.UsageError, match=r"cannot rename the read model 'counts'.*Nothing was changed"):
        async with app_with(model=Renamed).open(url, renamed={"counts": "renamed"}):
            pass
    async with app_with(model=Renamed).open(url, forget=["counts"]) as s:
        await s.wait()
        assert await s.find(Renamed) == [Renamed(id="x-1".partition("-")[2])]
