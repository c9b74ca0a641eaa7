"""A system belongs to the process and the event loop in which it was opened: elsewhere, every call is refused."""

import asyncio
import copy
import gc
import inspect
import json
import os
import pickle
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from msgspec import Struct

import fait
import fait.store
from fait._store.ports import store as ports
from fait._subscriptions.handler_log import HandlerBuffer, HandlerLog

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),  # pytest's process has several threads
]

BACKENDS = ["memory", "sqlite", "postgresql"]
FORKED = "UsageError: the system was opened before this process was forked"
OTHER_LOOP = "UsageError: the system was opened in another event loop"

app = fait.App("affinity")


@fait.event("affinity.added")
class Added:
    number: int


class Tally(fait.Aggregate, category="tally"):
    total: int = 0

    def evolve(self, event: Added) -> None:
        self.total += event.number

    def add(self, number: int) -> None:
        self.emit(Added(number))


class Sum(fait.ReadModel, key="id"):
    id: str
    total: int = 0

    @classmethod
    def evolve(cls, row: Self | None, event: Added, at: fait.Envelope) -> Self | None:
        return cls(id=at.stream_id, total=(row.total if row else 0) + event.number)


class Add(Struct):
    number: int


def decide(command: Add, total: int) -> list[Added]:
    return [Added(command.number)]


def evolve(total: int, event: Added) -> int:
    return total + event.number


decider = fait.Decider(category="decided", initial=int, decide=decide, evolve=evolve)
app.include(Added, Tally, Sum)


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def iterate(s: fait.System) -> None:
    async for _ in s.events():
        pass


PORTS: dict[str, Any] = {
    "log": fait.store.Log,
    "registrations": fait.store.Registrations,
    "leases": fait.store.Leases,
    "failures": fait.store.Failures,
    "inbox": fait.store.Inbox,
    "recorder": fait.store.Recorder,
    "tables": fait.store.Tables,
    "snapshots": fait.store.SnapshotStore,
}

CALLS: dict[str, Callable[[Any], Any]] = {
    "append": lambda s: s.append(fait.NewEvents("sum-1", [Added(1)])),
    "decide": lambda s: s.decide(decider, "1", Add(1)),
    "events": iterate,
    "find": lambda s: s.find(Sum),
    "get": lambda s: s.get(Sum, "1"),
    "load": lambda s: s.load(Tally, "1"),
    "load_many": lambda s: s.load_many(Tally, ["1"]),
    "publish": lambda s: s.publish(Added(1), stream="sum-1"),
    "query": lambda s: s.query(fait.Query()),
    "read": lambda s: s.read("sum-1"),
    "rebuild": lambda s: s.rebuild(Sum),
    "status": lambda s: s.status(),
    "transact": lambda s: s.transact(Tally.add, "1", 1),
    "settle": lambda s: s.settle(),
    "wait": lambda s: s.wait(),
}
"""A call of each asynchronous method of a system."""


def clients_of(s: fait.System, context: fait.Context) -> list[fait.Client]:
    return [s, s.using(key="k"), context, context.using(key="k")]


def is_asynchronous(method: object) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def test_calls_contain_each_public_asynchronous_method_of_a_system() -> None:
    methods = {
        name for name in dir(fait.System) if not name.startswith("_") and is_asynchronous(getattr(fait.System, name))
    }
    assert CALLS.keys() == methods


async def attempt_all(clients: list[Any]) -> dict[str, str]:
    """Return the error of each call of each client; calls that a client does not have are left out."""
    errors: dict[str, str] = {}
    for number, client in enumerate(clients):
        for name, call in CALLS.items():
            if hasattr(client, name):
                errors[f"{number} {name}"] = await attempt(lambda call=call, client=client: call(client))
    return errors


async def attempt_all_ports(store: fait.store.Store) -> dict[str, str]:
    """Return the error of each method of a store and of its ports, called without arguments."""
    errors: dict[str, str] = {}
    for port, protocol in {"": fait.store.Store, **PORTS}.items():
        target: Any = getattr(store, port) if port else store
        for name, member in vars(protocol).items():
            if not name.startswith("_") and inspect.isfunction(member):

                async def call(target: Any = target, name: str = name) -> Any:
                    result = getattr(target, name)()
                    return await result if inspect.isawaitable(result) else result

                errors[f"{port}.{name}"] = await attempt(call)
    return errors


async def attempt(call: Callable[[], Any]) -> str:
    try:
        async with asyncio.timeout(30):
            return f"returned {await call()!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def in_thread(function: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def in_child(function: Callable[[], Any]) -> Any:
    """Return the result of a function in a forked child, as JSON. The child runs nothing else."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            with os.fdopen(writing, "w") as results:
                json.dump(function(), results)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as results:
        text = results.read()
    os.waitpid(child, 0)
    return json.loads(text)


async def opened_context(s: fait.System) -> fait.Context:
    [envelope] = await s.read("sum-1")
    return fait.Context(HandlerLog(s.store.log, fait.SystemClock(), HandlerBuffer()), s, envelope, 1)


@pytest.mark.parametrize(
    ("elsewhere", "message"), [(in_thread, OTHER_LOOP), (in_child, FORKED)], ids=["another event loop", "forked child"]
)
async def test_every_call_elsewhere_is_refused_and_the_system_continues(
    url: str, elsewhere: Callable[[Callable[[], Any]], Any], message: str
) -> None:
    async with app.open(url) as s:
        await s.publish(Added(1), stream="sum-1")
        clients: list[Any] = clients_of(s, await opened_context(s))
        errors = await asyncio.to_thread(elsewhere, lambda: asyncio.run(attempt_all(clients)))
        assert {name: error for name, error in errors.items() if not error.startswith(message)} == {}
        assert len(errors) == len(CALLS) + 3 * len([name for name in CALLS if hasattr(fait.Client, name)])
        result = await s.publish(Added(2), stream="sum-1")
        assert (await s.get(Sum, "1", after=result, timeout_s=30)) == Sum(id="1", total=3)
        assert [each.event.number for each in await s.read("sum-1")] == [1, 2]


@asynccontextmanager
async def opened_store(url: str, owner: str) -> AsyncIterator[fait.store.Store]:
    if owner == "system":
        async with app.open(url) as s:
            yield s.store
    else:
        store = await fait.store.open_store(url)
        yield store
        await store.close()


@pytest.mark.parametrize("elsewhere", [in_thread, in_child], ids=["another event loop", "forked child"])
@pytest.mark.parametrize("owner", ["system", "store"])
async def test_every_method_of_a_port_elsewhere_is_refused(
    url: str, owner: str, elsewhere: Callable[[Callable[[], Any]], Any]
) -> None:
    message = (OTHER_LOOP if elsewhere is in_thread else FORKED).replace("the system", f"the {owner}")
    async with opened_store(url, owner) as store:
        await store.log.head()  # the first call of a method is bound like the later ones
        errors = await asyncio.to_thread(elsewhere, lambda: asyncio.run(attempt_all_ports(store)))
        assert {name: error for name, error in errors.items() if not error.startswith(message)} == {}
        assert {"log.read", "tables.select", "leases.acquire", ".examine", "log.notify"} <= errors.keys()
        assert await store.log.head() == 0


async def test_call_of_a_port_passed_to_its_event_loop_is_accepted(url: str) -> None:
    async with app.open(url) as s:
        loop = asyncio.get_running_loop()

        def call() -> int:
            return asyncio.run_coroutine_threadsafe(s.store.log.head(), loop).result(30)

        assert await asyncio.to_thread(call) == 0


async def test_system_cannot_be_pickled_or_copied(url: str) -> None:
    async with app.open(url) as s:
        for each in (s, s.using(key="k"), s.store, s.store.log):
            for attempt_copy in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(fait.UsageError, match="cannot be copied or passed to another process"):
                    attempt_copy(each)


async def test_iteration_that_is_continued_in_another_event_loop_is_refused(url: str) -> None:
    async with app.open(url) as s:
        await s.publish(Added(1), stream="sum-1")
        iteration = s.events(follow_on=True)
        await anext(iteration)
        error = await asyncio.to_thread(in_thread, lambda: asyncio.run(attempt(lambda: anext(iteration))))
        assert error.startswith(OTHER_LOOP)


def test_ports_of_a_store_are_those_of_the_protocol() -> None:
    assert set(PORTS) == set(ports.PORTS) == {k for k, v in vars(fait.store.Store).items() if isinstance(v, property)}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_system_used_after_its_event_loop_ended_is_refused(url: str) -> None:
    async def open_system() -> tuple[Any, fait.System]:
        block = app.open(url)
        return block, await block.__aenter__()

    def use() -> None:
        with asyncio.Runner() as runner:
            block, s = runner.run(open_system())
            errors = in_thread(lambda: asyncio.run(attempt_all([s])))
            close = in_thread(lambda: asyncio.run(attempt(lambda: block.__aexit__(None, None, None))))
            assert close.startswith(OTHER_LOOP)
            assert {error for error in errors.values() if not error.startswith(OTHER_LOOP)} == set()

    use()
    gc.collect()  # the connections, which cannot be closed any more, are reported here and not in another test


async def test_call_without_an_event_loop_is_refused(url: str) -> None:
    async with app.open(url) as s:

        def start() -> str:
            try:
                s.publish(Added(1), stream="sum-1").send(None)
            except BaseException as error:
                return f"{type(error).__name__}: {error}"
            return "waits"

        assert in_thread(start).startswith(OTHER_LOOP)


@pytest.mark.parametrize("backend", ["memory", "postgresql"])
async def test_forked_child_can_open_a_system_of_its_own(store_url: Callable[[str], str], backend: str) -> None:
    url = store_url(backend)

    async def child() -> int:
        async with app.open(url, run="elsewhere") as s:
            await s.publish(Added(2), stream="child-1")
            return len(await s.read("child-1"))

    async with app.open(url) as s:
        assert await asyncio.to_thread(in_child, lambda: asyncio.run(child())) == 1
        result = await s.publish(Added(1), stream="sum-1")
        assert (await s.get(Sum, "1", after=result, timeout_s=30)) is not None


async def test_forked_child_cannot_open_an_sqlite_file_that_its_parent_had_open(
    store_url: Callable[[str], str],
) -> None:
    url = store_url("sqlite")

    async def child() -> str:
        return await attempt(lambda: fait.store.open_store(url))

    def stdlib() -> str:
        import sqlite3

        try:
            sqlite3.connect(url.removeprefix("sqlite:///"))
        except Exception as error:
            return str(error)
        return "opened"

    async with app.open(url) as s:
        await s.publish(Added(1), stream="sum-1")
        refused = await asyncio.to_thread(in_child, lambda: asyncio.run(child()))
        grandchild = await asyncio.to_thread(in_child, lambda: in_child(lambda: asyncio.run(child())))
        assert "was open in the parent process" in await asyncio.to_thread(in_child, stdlib)
    assert refused == grandchild
    assert refused.startswith("UsageError: ")
    assert "was open in the parent process when this process was forked" in refused
    assert (await asyncio.to_thread(in_child, lambda: asyncio.run(child()))).startswith("returned")


async def test_forked_child_that_leaves_the_block_closes_nothing_of_its_parent(url: str) -> None:
    block = app.open(url)
    s = await block.__aenter__()
    await s.publish(Added(1), stream="sum-1")
    ended = await asyncio.to_thread(in_child, lambda: asyncio.run(attempt(lambda: block.__aexit__(None, None, None))))
    assert ended.startswith("returned")
    result = await s.publish(Added(2), stream="sum-1")
    assert (await s.get(Sum, "1", after=result, timeout_s=30)) == Sum(id="1", total=3)
    await block.__aexit__(None, None, None)


async def test_commit_of_an_outbox_in_a_forked_child_does_not_wake_the_parent(url: str) -> None:
    woken: list[str] = []
    async with app.open(url) as s:
        s._affinity.loop.call_soon_threadsafe = lambda *_: woken.append("in the child")  # type: ignore[method-assign]
        try:
            assert in_child(lambda: (app._notify_systems(), woken)[1]) == []
            app._notify_systems()
        finally:
            del s._affinity.loop.call_soon_threadsafe
        assert woken == ["in the child"]
