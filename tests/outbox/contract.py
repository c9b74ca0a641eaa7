"""The contract of all outbox adapters. For each library, subclass `OutboxContract` and implement `connect`.

    class TestMyLibrary(InPostgres, OutboxContract):
        async def connect(self, place: Place) -> Client: ...

The clients are described in `tests.outbox.clients`.
"""

import asyncio
import re
import sqlite3
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import fait
from fait._events import append
from fait._store.postgres import high_water_mark
from tests.outbox.clients import Changed, Client, Place, Placed, Reminded, shop
from tests.outbox.ended_by_hand import EndedByHand
from tests.outbox.server_errors import ServerErrors
from tests.outbox.system_calls import run_calls
from tests.servers.postgres import PostgresServer

Connect = Callable[[], Awaitable[Client]]

DIFFERENCES: dict[str, tuple[object, dict[str, Any]]] = {
    "value": (Placed(2), {}),
    "type": (Changed(1), {}),
    "no tags": (Placed(1), {"tags": []}),
    "other tags": (Placed(1), {"tags": ["a:2"]}),
}
"""Events that differ from `Placed(1)` with the tag a:1, and the options of `add`."""


class InPostgres:
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, postgres_url: Callable[..., str]) -> Place:
        url = postgres_url()
        address, _, schema = url.partition("?schema=")
        place = Place("postgresql", url, address, schema, f"{schema}.orders")
        _in_separate_loop(_prepared, place, "text")
        return place


@pytest.mark.filterwarnings("ignore:SQLite 3")  # the warning is tested separately
class InSqlite:
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Place:
        path = tmp_path_factory.mktemp("outbox") / "shop.db"
        place = Place("sqlite", f"sqlite:///{path}", str(path), "public", "orders")
        _in_separate_loop(_prepared, place, "TEXT")
        return place


async def _prepared(place: Place, text: str) -> None:
    async with shop.open(place.url, run="elsewhere"):
        pass
    await place.run(f"CREATE TABLE {place.orders} (name {text} PRIMARY KEY, count integer NOT NULL)")


def _in_separate_loop(prepare: Callable[[Place, str], Coroutine[Any, Any, None]], place: Place, text: str) -> None:
    """Run the coroutine in a new thread, because the fixture is used by tests with and without an event loop."""
    thread = threading.Thread(target=lambda: asyncio.run(prepare(place, text)))
    thread.start()
    thread.join()


class OutboxContract(EndedByHand, ServerErrors):
    """The tests that every adapter must pass.

    Attributes:
        stores_on_add: whether an event is stored when it is added; otherwise by the commit.
        has_blocks: whether `outbox.transaction()` begins a transaction.
    """

    stores_on_add = True
    has_blocks = True

    @pytest.fixture
    def order(self) -> str:
        return f"order-{uuid4().hex}"

    @pytest.fixture
    async def connected(self, place: Place) -> AsyncGenerator[Connect]:
        clients: list[Client] = []

        async def connect() -> Client:
            clients.append(await self.connect(place))
            return clients[-1]

        yield connect
        for client in clients:
            await client.close()

    @pytest.fixture
    async def client(self, connected: Connect) -> Client:
        return await connected()

    async def test_a_commit_stores_rows_and_events_in_order(self, client: Client, place: Place, order: str) -> None:
        await client.begin()
        await client.insert(order, 1)
        await client.add(Placed(1), stream=order)
        await client.update(order, 2)
        await client.add(Changed(2), stream=order)
        assert await place.events(order) == []
        await client.commit()

        assert await place.count(order) == 2
        assert await place.events(order) == [("placed", 1, 1), ("changed", 2, 2)]

    async def test_expiring_events_are_stored_as_messages(self, client: Client, place: Place, order: str) -> None:
        await client.begin()
        for event in (Placed(1), Reminded(1), Changed(2), Reminded(2)):
            await client.add(event, stream=order)
        await client.commit()

        assert await place.expiring(order) == [2, 4]
        assert [version for _, version, _ in await place.events(order)] == [1, 2, 3, 4]

    async def test_events_of_several_streams_are_stored_in_order(
        self, client: Client, place: Place, order: str
    ) -> None:
        await client.begin()
        for number, stream in enumerate([order, f"{order}-b", order, f"{order}-a", f"{order}-b"]):
            await client.add(Changed(number), stream=stream)
        await client.commit()
        table = "fait_events" if place.dialect == "sqlite" else f"{place.schema}.fait_all_events"
        rows = await place.fetch(f"SELECT stream, version FROM {table} WHERE stream LIKE '{order}%' ORDER BY position")

        suffixes = [(stream.removeprefix(order), version) for stream, version in rows]
        assert suffixes == [("", 1), ("-b", 1), ("", 2), ("-a", 1), ("-b", 2)]

    async def test_rollback_stores_nothing(self, client: Client, place: Place, order: str) -> None:
        await client.begin()
        await client.insert(order, 1)
        await client.add(Placed(1), stream=order)
        await client.rollback()
        await client.begin()
        await client.insert(f"{order}-b", 1)
        await client.commit()

        assert await place.count(order) is None
        assert await place.events(order) == []

    async def test_savepoint_rollback_removes_only_its_events(self, client: Client, place: Place, order: str) -> None:
        await client.begin()
        await client.add(Placed(1), stream=order)
        await client.savepoint()
        await client.insert(order, 2)
        await client.add(Changed(2), stream=order)
        await client.rollback_savepoint()
        await client.add(Changed(3), stream=order)
        await client.commit()

        assert await place.count(order) is None
        assert await place.events(order) == [("placed", 1, 1), ("changed", 2, 3)]

    async def test_add_outside_a_transaction_raises_usage_error(self, client: Client, place: Place, order: str) -> None:
        with pytest.raises(fait.UsageError, match=r"transaction.*Nothing was written"):
            await client.add(Placed(1), stream=order)
        await client.begin()
        await client.insert(order, 1)
        await client.commit()

        assert await place.events(order) == []

    @pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
    async def test_add_with_an_old_snapshot_raises_usage_error(
        self, client: Client, place: Place, order: str, isolation: str
    ) -> None:
        if place.dialect == "sqlite":
            pytest.skip("SQLite has one isolation")
        await client.begin(isolation)
        await client.insert(order, 1)
        message = await self._error_of(fait.UsageError, client, Placed(1), stream=order)

        assert "READ COMMITTED" in message
        assert (await place.count(order), await place.events(order)) == (None, [])

    async def test_add_with_a_wrong_expected_version_raises(self, client: Client, place: Place, order: str) -> None:
        await client.begin()
        await client.add(Placed(1), stream=order, expected="no_stream")
        await client.commit()
        await client.begin()
        await client.insert(order, 1)
        message = await self._error_of(fait.WrongExpectedVersion, client, Changed(2), stream=order, expected=4)
        await client.begin()
        await client.add(Changed(3), stream=order, expected=1)
        await client.commit()

        assert "is at version 1, expected 4" in message
        assert await place.count(order) is None
        assert await place.events(order) == [("placed", 1, 1), ("changed", 2, 3)]

    async def test_invalid_event_is_rejected_before_any_statement(
        self, client: Client, place: Place, order: str
    ) -> None:
        await client.begin()
        await client.insert(order, 1)
        with pytest.raises(fait.InvalidValue, match="count"):
            await client.add(Placed(float("nan")), stream=order)
        with pytest.raises(fait.InvalidValue, match="stream"):
            await client.add(Placed(1), stream="")
        with pytest.raises(fait.UsageError, match="not one string"):
            await client.add(Placed(1), stream=order, tags="kind:1")
        await client.add(Placed(1), stream=order)
        await client.commit()

        assert await place.events(order) == [("placed", 1, 1)]

    async def test_events_over_the_maximum_size_are_refused_before_any_is_stored(
        self, client: Client, place: Place, order: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(append, "MAX_APPEND_BYTES", 100)
        tags = ("kind:" + "x" * (100 if self.stores_on_add else 50),)  # an outbox that stores on add counts each event

        await client.begin()
        if not self.stores_on_add:
            await client.savepoint()
            await client.add(Placed(1), stream=order, tags=tags)
            await client.rollback_savepoint()  # events that are rolled back do not count
            await client.add(Placed(1), stream=order, tags=tags)
        with pytest.raises(fait.UsageError, match="100 bytes"):
            await client.add(Placed(2), stream=order, tags=tags)
        await client.rollback()

        assert await place.events(order) == []

    async def test_events_over_the_maximum_size_in_a_block_are_refused(
        self, client: Client, place: Place, order: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._needs_blocks()
        monkeypatch.setattr(append, "MAX_APPEND_BYTES", 100)

        async def run_block() -> None:
            async with client.transaction():
                await client.add(Placed(1), stream=order)
                await client.add(Placed(2), stream=order, tags=("kind:" + "x" * 100,))

        with pytest.raises(fait.UsageError, match="100 bytes"):
            await run_block()

        assert await place.events(order) == []

    async def test_add_without_a_log_names_the_commands(self, client: Client, place: Place, order: str) -> None:
        if place.dialect == "sqlite":
            pytest.skip("a file has one log")
        await client.begin()
        message = await self._error_of(fait.UsageError, client, Placed(1), stream=order, schema="nowhere")

        assert "fait db init" in message

    async def test_schema_that_the_database_would_ignore_or_cut_off_raises(
        self, client: Client, place: Place, order: str
    ) -> None:
        await client.begin()
        message = await self._error_of(fait.UsageError, client, Placed(1), stream=order, schema="s" * 64)

        assert "schema" in message
        assert await place.events(order) == []

    async def test_repeated_key_stores_one_event(self, client: Client, place: Place, order: str) -> None:
        for _ in range(2):
            await client.begin()
            await client.add(Placed(1), stream=order, key="request-7")
            await client.commit()
        await client.begin()
        await client.add(Changed(2), stream=order, key="request-8")
        await client.add(Changed(2), stream=order, key="request-8")
        await client.commit()

        assert await place.events(order) == [("placed", 1, 1), ("changed", 2, 2)]

    @pytest.mark.parametrize("second", DIFFERENCES)
    async def test_key_or_id_of_another_event_raises_and_stores_nothing(
        self, client: Client, place: Place, order: str, second: str
    ) -> None:
        event, options = DIFFERENCES[second]
        for name, error in (("key", fait.KeyReused), ("id", fait.DuplicateEventId)):
            named = {name: fait.new_id()}
            await client.begin()
            await client.add(Placed(1), stream=order, tags=["a:1"], **named)
            await client.commit()
            before = await place.events(order)
            await client.begin()
            await self._error_of(error, client, event, **{"stream": order, "tags": ["a:1"], **options}, **named)

            assert await place.events(order) == before
            assert await place.events(f"{order}-other") == []

    async def test_key_of_another_event_in_one_transaction_raises_and_stores_nothing(
        self, client: Client, place: Place, order: str
    ) -> None:
        await client.begin()
        await client.add(Placed(1), stream=order, key=order)
        await self._error_of(fait.KeyReused, client, Placed(2), stream=order, key=order)

        assert await place.events(order) == []

    async def test_key_names_one_intention_in_outbox_and_system(self, client: Client, place: Place, order: str) -> None:
        await run_calls(place, "before", order)
        await client.begin()
        await client.add(Placed(1), stream=order, key=f"{order} same")
        await client.add(Placed(1), stream=order, key=f"{order} same", scope="outbox")
        await client.commit()
        for key in ("more", "other"):
            await client.begin()
            await self._error_of(fait.KeyReused, client, Placed(1), stream=order, key=f"{order} {key}")
        await run_calls(place, "after", order)

        assert len(await place.events(order)) == 4

    async def test_empty_key_raises_and_stores_nothing(self, client: Client, place: Place, order: str) -> None:
        async def add() -> None:
            await client.add(Placed(1), stream=order, key="")
            await client.commit()  # some libraries encode the events just before it

        await client.begin()
        with pytest.raises(fait.UsageError, match="key must not be empty"):
            await add()
        await client.rollback()

        assert await place.events(order) == []

    async def test_all_arguments_of_add_are_stored(self, client: Client, place: Place, order: str) -> None:
        stream, when, event_id = f"{order}-?:%s 'é'", fait.now(), fait.new_id()
        await client.begin()
        await client.add(
            fait.Untyped("outbox.?", {"text": "50 % of 'é' \"?\" $1 :v1 %s"}),
            stream=stream,
            expected="no_stream",
            tags=["kind:%s?", "other:1"],
            occurred_at=when,
            id=event_id,
        )
        await client.commit()
        await client.close()
        async with shop.open(place.url, run="elsewhere") as system:
            [event] = await system.read(stream)

        assert event.event == fait.Untyped("outbox.?", {"text": "50 % of 'é' \"?\" $1 :v1 %s"})
        assert (event.tags, event.occurred_at, event.id) == (("kind:%s?", "other:1"), when, event_id)

    @pytest.mark.parametrize("first", [0, 1])
    async def test_event_order_is_the_order_of_changes(
        self, connected: Connect, place: Place, order: str, first: int
    ) -> None:
        """Of two transactions, the first one to change an order commits first, regardless of which began first."""
        await place.run(f"INSERT INTO {place.orders} (name, count) VALUES ('{order}', 0)")
        clients = [await connected(), await connected()]
        if place.dialect == "postgresql":
            for client in clients:
                await client.begin()

        async def change(number: int) -> None:
            if place.dialect == "sqlite":
                await clients[number].begin()
            await clients[number].update(order, number)
            await clients[number].add(Changed(number), stream=order)

        await change(first)
        waiting = asyncio.create_task(change(1 - first))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await clients[first].commit()
        await waiting
        await clients[1 - first].commit()

        assert await place.count(order) == 1 - first
        assert [count for _, _, count in await place.events(order)] == [first, 1 - first]

    async def test_block_commits_rows_and_events(self, client: Client, place: Place, order: str) -> None:
        self._needs_blocks()
        async with client.transaction():
            await client.add(Placed(1), stream=order, expected="no_stream")
            await client.insert(order, 1)
            await client.add(Changed(2), stream=order, expected=1)
            await client.add(Placed(3), stream=f"{order}-b")
            assert await place.events(order) == []

        assert await place.count(order) == 1
        assert await place.events(order) == [("placed", 1, 1), ("changed", 2, 2)]
        assert await place.events(f"{order}-b") == [("placed", 1, 3)]

    async def test_failed_block_stores_nothing(self, client: Client, place: Place, order: str) -> None:
        self._needs_blocks()

        async def block(version: int) -> None:
            async with client.transaction():
                await client.insert(order, 1)
                await client.add(Placed(1), stream=order, expected=version)
                if version == 0:
                    raise LookupError

        with pytest.raises(LookupError):
            await block(0)
        with pytest.raises(fait.WrongExpectedVersion):
            await block(7)
        with pytest.raises(fait.UsageError, match="transaction"):
            await client.add(Placed(1), stream=order)

        assert (await place.count(order), await place.events(order)) == (None, [])

    async def test_savepoint_rollback_in_a_block_removes_only_its_events(
        self, client: Client, place: Place, order: str
    ) -> None:
        self._needs_blocks()
        async with client.transaction():
            await client.add(Placed(1), stream=order)
            await client.savepoint()
            await client.insert(order, 2)
            await client.add(Changed(2), stream=order)
            await client.rollback_savepoint()
            await client.add(Changed(3), stream=order)
            await client.savepoint()
            await client.add(Changed(4), stream=order)
            await client.rollback_savepoint()

        assert await place.count(order) is None
        assert await place.events(order) == [("placed", 1, 1), ("changed", 2, 3)]

    async def test_block_stores_events_at_its_end(self, connected: Connect, place: Place, order: str) -> None:
        self._needs_blocks()
        if place.dialect == "sqlite":
            pytest.skip("SQLite has one writer")
        early, late = await connected(), await connected()
        async with early.transaction():
            await early.add(Changed(1), stream=order)
            async with asyncio.timeout(30):
                await late.begin()
                await late.add(Changed(2), stream=order)
                await late.commit()

        assert [count for _, _, count in await place.events(order)] == [2, 1]

    async def test_block_in_a_transaction_is_part_of_it(
        self, client: Client, connected: Connect, place: Place, order: str
    ) -> None:
        self._needs_blocks()
        if place.dialect == "sqlite":
            await client.begin()
            with pytest.raises(fait.UsageError, match="already open on this connection"):
                async with client.transaction():
                    pass
            return await client.rollback()
        calls: list[str] = []
        for end in (client.rollback, client.commit):
            await client.begin()
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(shop, "_notify_systems", lambda: calls.append("once"))
                async with client.transaction():
                    await client.add(Changed(1), stream=order)
            await end()

        assert await place.events(order) == [("changed", 1, 1)]
        assert calls == []
        return None

    async def test_block_calls_on_commit_after_its_commit(
        self, client: Client, place: Place, order: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._needs_blocks()
        if place.dialect == "sqlite":
            pytest.skip("handlers run in another process")
        calls: list[str] = []
        monkeypatch.setattr(shop, "_notify_systems", lambda: calls.append("once"))
        async with client.transaction():
            await client.add(Changed(1), stream=order)
            await client.add(Changed(2), stream=order)
            assert calls == []

        assert calls == ["once"]

    async def test_block_wakes_the_handlers(self, client: Client, place: Place, order: str) -> None:
        self._needs_blocks()
        if place.dialect == "sqlite":
            pytest.skip("handlers run in another process")
        heard, app = asyncio.Queue[int](), fait.App(f"waking-{order}")

        @app.on(Changed, name=order)
        def hear(event: Changed) -> None:
            heard.put_nowait(event.count)

        async with app.open(place.url) as system:
            await system.publish(Changed(-1), stream=order)
            while await asyncio.wait_for(heard.get(), 30) != -1:
                pass
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(shop, "_systems", {system})
                for name in ("POLL_INTERVAL_S", "REPORTED_POSITION_TIMEOUT_S"):
                    patched.setattr(high_water_mark, name, 60.0)  # polling would find it too late
                for number in range(3):
                    async with client.transaction():
                        await client.add(Changed(number), stream=order)
                    assert await asyncio.wait_for(heard.get(), 30) == number

    async def test_add_costs_one_statement(
        self, client: Client, place: Place, order: str, postgres_servers: Callable[..., PostgresServer]
    ) -> None:
        if place.dialect == "sqlite":
            pytest.skip("no statement leaves the process")
        log = postgres_servers().log
        await client.begin()
        await client.execute("SET log_statement = 'all'")
        begin = log.stat().st_size
        await client.add(Placed(1), stream=order, tags=["a:1", "b:2"], key="k")
        await client.execute("SET log_statement = 'none'")
        await client.commit()

        said = log.read_bytes()[begin:].decode()
        statements = re.findall(r"LOG:  (?:statement|execute [^:]*): (\w+)", said)
        assert statements == (["SELECT", "SET"] if self.stores_on_add else ["SET"]), said


class SqliteContract:
    """Tests specific to SQLite."""

    async def test_deferred_transaction_with_a_stale_snapshot_is_rejected(
        self, client: Client, place: Place, order: str
    ) -> None:
        await client.execute("BEGIN DEFERRED")
        await client.execute("SELECT count(*) FROM orders")
        await place.run(f"INSERT INTO orders VALUES ('{order}', 1)")
        with pytest.raises(fait.StoreUnavailable, match=r"began DEFERRED.*BEGIN IMMEDIATE.*Nothing was written"):
            await client.add(Placed(1), stream=order)
        await client.rollback()

        assert await place.events(order) == []

    async def test_deferred_transaction_with_a_current_snapshot_is_accepted(
        self, client: Client, place: Place, order: str
    ) -> None:
        await client.execute("BEGIN DEFERRED")
        await client.execute("SELECT count(*) FROM orders")
        await client.add(Placed(1), stream=order)
        await client.commit()

        assert await place.events(order) == [("placed", 1, 1)]

    async def test_add_waits_for_another_writer_until_the_timeout_of_the_connection(
        self, client: Client, place: Place, order: str
    ) -> None:
        await client.execute("PRAGMA busy_timeout = 50")
        writer = sqlite3.connect(place.address, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        await client.execute("BEGIN DEFERRED")
        with pytest.raises(fait.StoreUnavailable, match=r"another connection is writing.*Nothing was written"):
            await client.add(Placed(1), stream=order)
        await client.rollback()
        with pytest.raises(fait.StoreUnavailable, match="another connection is writing"):
            async with client.transaction():
                await client.add(Placed(1), stream=order)
        writer.close()

        assert await place.events(order) == []

    async def test_block_holds_the_write_lock_from_its_beginning(self, client: Client, place: Place) -> None:
        writer = sqlite3.connect(place.address, isolation_level=None, timeout=0)
        async with client.transaction():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                writer.execute("BEGIN IMMEDIATE")
        writer.close()

    async def test_add_to_a_file_without_a_log_names_the_commands(self, tmp_path: Path, order: str) -> None:
        client = await self.connect(Place("sqlite", "", str(tmp_path / "empty.db"), "public", "orders"))
        await client.begin()
        with pytest.raises(fait.UsageError, match="fait db init"):
            await client.add(Placed(1), stream=order)
        await client.close()

    async def connect(self, place: Place) -> Client:
        raise NotImplementedError
