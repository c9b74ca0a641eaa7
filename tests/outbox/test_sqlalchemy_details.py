"""Tests specific to SQLAlchemy: flushes, hooks, joined sessions, two-phase commits, engine options."""

import gc
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.event import registry
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

import fait
from fait._delivery.outbox.adapters import sqlalchemy_commit
from fait._delivery.outbox.open import open_outbox
from tests.outbox.clients import Changed, Place, Placed, shop
from tests.outbox.contract import InPostgres, InSqlite
from tests.outbox.sqlalchemy_clients import Order, Other, address, engine, statements
from tests.servers.postgres import PostgresServer


class Details:
    driver = "psycopg"

    @pytest.fixture
    def order(self) -> str:
        return f"order-{fait.new_id()}"

    @pytest.fixture
    def engine(self, place: Place) -> Iterator[Engine]:
        made = engine(place, self.driver, execution_options=self.options(place))
        yield made
        made.dispose()

    def options(self, place: Place) -> dict[str, Any]:
        """Maps the tables of the application to the schema of the log."""
        return {"schema_translate_map": {None: place.schema}} if place.dialect == "postgresql" else {}

    def outbox(self, place: Place, connection: Any) -> Any:
        return shop.outbox(connection, schema=place.schema)

    async def test_events_are_stored_after_the_flush_as_last_statements(
        self, place: Place, engine: Engine, order: str
    ) -> None:
        with Session(engine) as session, statements(engine) as sent:
            self.outbox(place, session).add(Placed(1), stream=order)
            session.add(Order(name=order, count=1))
            self.outbox(place, session).add(Changed(2), stream=order)
            session.commit()

        assert sent.index("INSERT") < sent.index("fait")
        assert set(sent[sent.index("fait") :]) == {"fait"}
        assert place.dialect == "sqlite" or sent.count("fait") == 1
        assert await place.events(order) == [("placed", 1, 1), ("changed", 2, 2)]
        assert await place.count(order) == 1

    async def test_failed_flush_stores_nothing(self, place: Place, engine: Engine, order: str) -> None:
        await place.run(f"INSERT INTO {place.orders} VALUES ('{order}', 1)")
        with Session(engine) as session:
            self.outbox(place, session).add(Placed(1), stream=order)
            session.add(Order(name=order, count=2))
            with pytest.raises(DBAPIError):
                session.flush()
            with pytest.raises(PendingRollbackError):
                self.outbox(place, session).add(Placed(2), stream=order)
            session.rollback()
            session.commit()

        assert await place.events(order) == []

    @pytest.mark.parametrize("of_class", [True, False], ids=["class", "session"])
    @pytest.mark.parametrize("hook", ["before_commit", "before_flush", "after_flush", "after_flush_postexec"])
    async def test_session_hooks_can_add_events(
        self, place: Place, engine: Engine, order: str, hook: str, of_class: bool
    ) -> None:
        make = sessionmaker(engine)
        with make() as session:
            added: list[int] = []

            def collect(session: Session, *_: Any) -> None:
                if not added:
                    added.append(1)
                    self.outbox(place, session).add(Placed(1), stream=order)

            event.listen(make if of_class else session, hook, collect)
            session.add(Order(name=order, count=1))
            session.commit()

        assert await place.events(order) == [("placed", 1, 1)]

    def test_add_after_the_commit_raises(self, place: Place, engine: Engine, order: str) -> None:
        with Session(engine) as session:
            event.listen(
                session, "after_commit", lambda session: self.outbox(place, session).add(Placed(1), stream=order)
            )
            session.add(Order(name=order, count=1))
            with pytest.raises(Exception, match="committed"):
                session.commit()

    @pytest.mark.parametrize("continues", [True, False])
    async def test_transaction_ended_on_the_driver_connection_stores_no_event(
        self, place: Place, engine: Engine, order: str, continues: bool
    ) -> None:
        with Session(engine) as session:
            session.add(Order(name=order, count=1))
            session.flush()
            self.outbox(place, session).add(Placed(1), stream=order)
            driver: Any = session.connection().connection.driver_connection
            driver.rollback()
            with pytest.raises(fait.UsageError, match="ended by hand"):
                session.execute(text("SELECT 1")) if continues else session.commit()
            session.rollback()
            session.add(Order(name=order, count=2))  # the session is usable
            self.outbox(place, session).add(Changed(2), stream=order)
            session.commit()

        assert (await place.count(order), await place.events(order)) == (2, [("changed", 1, 2)])

    async def test_nested_savepoints(self, place: Place, engine: Engine, order: str) -> None:
        with Session(engine) as session, session.begin():
            outbox = self.outbox(place, session)
            with suppress(LookupError), session.begin_nested():
                outbox.add(Placed(1), stream=order)
                with session.begin_nested():
                    outbox.add(Placed(2), stream=order)
                raise LookupError
            with session.begin_nested():
                outbox.add(Placed(3), stream=order)
                with suppress(LookupError), session.begin_nested():
                    outbox.add(Placed(4), stream=order)
                    raise LookupError
                outbox.add(Placed(5), stream=order)
            with suppress(LookupError), session.begin_nested():
                with session.begin_nested():
                    outbox.add(Placed(6), stream=order)
                raise LookupError

        assert [count for _, _, count in await place.events(order)] == [3, 5]

    @pytest.mark.filterwarnings("ignore:nested transaction already deassociated")
    async def test_outer_savepoint_rolled_back_first(self, place: Place, engine: Engine, order: str) -> None:
        with engine.connect() as connection, connection.begin():
            outer = connection.begin_nested()
            self.outbox(place, connection).add(Placed(1), stream=order)
            connection.begin_nested()
            self.outbox(place, connection).add(Placed(2), stream=order)
            outer.rollback()

        assert await place.events(order) == []

    async def test_open_savepoint_is_committed_with_its_transaction(
        self, place: Place, engine: Engine, order: str
    ) -> None:
        with Session(engine) as session, session.begin():
            session.begin_nested()
            session.add(Order(name=order, count=1))
            self.outbox(place, session).add(Placed(1), stream=order)

        assert await place.events(order) == [("placed", 1, 1)]

    async def test_closed_or_invalidated_session_stores_nothing(self, place: Place, engine: Engine, order: str) -> None:
        for end in (Session.close, Session.invalidate, Session.reset):
            session = Session(engine)
            self.outbox(place, session).add(Placed(1), stream=order)
            end(session)
            if end is Session.reset:
                session.commit()
        connection = engine.connect()
        connection.begin()
        self.outbox(place, connection).add(Placed(2), stream=order)
        connection.invalidate()
        connection.rollback()
        with connection.begin():
            connection.execute(text("SELECT 1"))
        connection.close()

        assert await place.events(order) == []

    async def test_connection_is_usable_after_a_failed_commit(self, place: Place, engine: Engine, order: str) -> None:
        with engine.connect() as connection:
            insert = text(f"INSERT INTO {place.orders} VALUES ('{order}', 1)")
            connection.execute(insert)
            self.outbox(place, connection).add(Placed(1), stream=order, expected=9)
            with pytest.raises(fait.WrongExpectedVersion):
                connection.commit()
            connection.rollback()
            connection.execute(text("SELECT 1"))
            connection.commit()
            assert await place.count(order) is None
            connection.execute(insert)
            self.outbox(place, connection).add(Placed(2), stream=order)
            connection.commit()

        assert await place.count(order) == 1
        assert await place.events(order) == [("placed", 1, 2)]

    async def test_connection_with_a_failed_rollback_is_invalidated(
        self, place: Place, engine: Engine, order: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: Any) -> None:
            raise ConnectionError("the connection is lost")

        with engine.connect() as connection:
            connection.execute(text(f"INSERT INTO {place.orders} VALUES ('{order}', 1)"))
            self.outbox(place, connection).add(Placed(1), stream=order, expected=9)
            with monkeypatch.context() as broken:
                broken.setattr(engine.dialect, "do_rollback", fail)
                with pytest.raises(fait.WrongExpectedVersion):
                    connection.commit()
            assert connection.invalidated
            connection.rollback()
            connection.execute(text("SELECT 1"))
            connection.commit()

        assert (await place.count(order), await place.events(order)) == (None, [])

    def test_add_to_a_session_without_autobegin_raises_usage_error(
        self, place: Place, engine: Engine, order: str
    ) -> None:
        with Session(engine, autobegin=False) as session:
            with pytest.raises(fait.UsageError, match=r"Nothing was written.*session\.begin"):
                self.outbox(place, session).add(Placed(1), stream=order)
            with session.begin():
                self.outbox(place, session).add(Placed(2), stream=order)

    async def test_scoped_session_stores_events(self, place: Place, engine: Engine, order: str) -> None:
        sessions = scoped_session(sessionmaker(engine))
        self.outbox(place, sessions).add(Placed(1), stream=order)
        sessions.commit()
        self.outbox(place, sessions).add(Placed(2), stream=order)
        sessions.remove()

        assert await place.events(order) == [("placed", 1, 1)]

    @pytest.mark.parametrize("nested", [False, True])
    async def test_session_joined_to_an_external_transaction_stores_at_the_commit(
        self, place: Place, engine: Engine, order: str, nested: bool
    ) -> None:
        """The session joins an external transaction, with or without a savepoint: events are stored at the COMMIT."""
        for end in ("rollback", "commit"):
            with engine.connect() as connection:
                transaction = connection.begin()
                if nested:
                    connection.begin_nested()
                with Session(connection) as session:
                    self.outbox(place, session).add(Placed(1), stream=order)
                    session.commit()
                getattr(transaction, end)()

        assert await place.events(order) == [("placed", 1, 1)]

    async def test_session_commit_in_an_external_transaction_stores_events(
        self, place: Place, engine: Engine, order: str
    ) -> None:
        """SQLAlchemy's recipe for tests: sessions commit savepoints in a transaction that the test rolls back."""
        log = "fait_events" if place.dialect == "sqlite" else f"{place.schema}.fait_events"
        stored = text(f"SELECT count(*) FROM {log} WHERE stream = '{order}'")
        with engine.connect() as connection:
            transaction = connection.begin()
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                outbox = self.outbox(place, session)
                session.add(Order(name=order, count=1))
                outbox.add(Placed(1), stream=order)
                with session.begin_nested():
                    outbox.add(Placed(2), stream=order)
                assert session.scalar(stored) == 0
                session.commit()
                assert session.scalar(stored) == 2
                session.rollback()
                session.add(Order(name=f"{order}-b", count=1))
                outbox.add(Placed(3), stream=order, expected=1)
                with pytest.raises(fait.WrongExpectedVersion):
                    session.commit()
                session.rollback()
                assert session.get(Order, f"{order}-b") is None
                outbox.add(Placed(3), stream=order, expected=2)
                session.commit()
                assert session.scalar(stored) == 3
            transaction.rollback()

        assert (await place.count(order), await place.events(order)) == (None, [])

    async def test_on_commit_is_called_at_reuse_or_return_of_the_connection(
        self, place: Place, engine: Engine, order: str
    ) -> None:
        calls: list[int] = []

        def on_commit() -> None:
            calls.append(engine.pool.checkedout())  # type: ignore[attr-defined]

        def outbox(connection: Any) -> Any:
            return open_outbox(connection, shop._resolve().codec, place.schema, on_commit)

        with Session(engine) as session:
            outbox(session).add(Placed(1), stream=order)
            session.rollback()
            outbox(session).add(Placed(2), stream=order)
            session.commit()
        engine.dispose()
        with engine.begin() as connection:
            outbox(connection).add(Placed(3), stream=order)
        with engine.connect() as connection:
            for number in (4, 5):
                outbox_of = outbox(connection) if connection.in_transaction() or connection.begin() else None
                outbox_of.add(Placed(number), stream=order)
                connection.commit()
            held = len(calls)

        assert held == 3
        assert [count for _, _, count in await place.events(order)] == [2, 3, 4, 5]
        assert len(calls) == 4

    async def test_engine_with_execution_options(self, place: Place, engine: Engine, order: str) -> None:
        for number in (1, 2):
            special = engine.execution_options(logging_token=str(number), stream_results=True, yield_per=1)
            with special.begin() as connection:
                self.outbox(place, connection).add(Placed(number), stream=order)
            with engine.begin() as connection:
                self.outbox(place, connection).add(Placed(number), stream=order)

        assert [count for _, _, count in await place.events(order)] == [1, 1, 2, 2]

    async def test_configuration_of_the_engine_has_no_effect(self, place: Place, order: str) -> None:
        def broken(*_: Any) -> Any:
            raise AssertionError("JSON of fait must not pass through the hooks of the engine")

        made = engine(
            place,
            self.driver,
            echo=True,
            hide_parameters=True,
            json_deserializer=broken,
            json_serializer=broken,
            query_cache_size=0,
            use_insertmanyvalues=False,
            execution_options={"compiled_cache": None, "no_parameters": True},
        )
        with made.begin() as connection:
            self.outbox(place, connection).add(Placed(1), stream=order, key="once")
        with Session(made) as session:
            self.outbox(place, session).add(Placed(1), stream=order, key="once")
            self.outbox(place, session).add(Placed(2), stream=order)
            session.commit()
        made.dispose()

        assert [count for _, _, count in await place.events(order)] == [1, 2]

    async def test_autocommit_is_rejected(self, place: Place, engine: Engine, order: str) -> None:
        by_option = engine.execution_options(isolation_level="AUTOCOMMIT")
        by_engine = create_engine(address(place, self.driver), isolation_level="AUTOCOMMIT")
        for autocommit in (by_option, by_engine):
            with Session(autocommit) as session, pytest.raises(fait.UsageError, match="transaction"):
                self.outbox(place, session).add(Placed(1), stream=order)
        by_engine.dispose()

        assert await place.events(order) == []

    async def test_session_with_several_databases(self, place: Place, engine: Engine, order: str) -> None:
        elsewhere = create_engine("sqlite://", poolclass=StaticPool)
        with Session(binds={Order: engine, Other: elsewhere}) as session:
            with pytest.raises(fait.UsageError, match="several databases"):
                self.outbox(place, session)
            connection = session.connection(bind_arguments={"mapper": Order})
            self.outbox(place, connection).add(Placed(1), stream=order)
            session.commit()

        class Routed(Session):
            def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> Any:
                return engine if self._flushing or getattr(clause, "is_dml", False) else elsewhere

        with Routed() as session:
            assert session.execute(text("SELECT sqlite_version()")).scalar()
            self.outbox(place, session).add(Placed(2), stream=order)
            session.commit()
        elsewhere.dispose()

        assert [count for _, _, count in await place.events(order)] == [1, 2]

    async def test_apps_can_share_a_transaction(self, place: Place, engine: Engine, order: str) -> None:
        other = fait.App("other")
        with Session(engine) as session:
            self.outbox(place, session).add(Placed(1), stream=order)
            other.outbox(session, schema=place.schema).add(fait.Untyped("outbox.third", {"count": 2}), stream=order)
            self.outbox(place, session).add(Placed(3), stream=order)
            session.commit()

        assert sorted(count for _, _, count in await place.events(order)) == [1, 2, 3]

    def test_sessions_and_connections_are_not_leaked(self, place: Place, engine: Engine, order: str) -> None:
        def work(times: int) -> None:
            for number in range(times):
                with Session(engine) as session:
                    self.outbox(place, session).add(Placed(number), stream=order)
                    session.rollback()
                abandoned = Session(engine)
                self.outbox(place, abandoned).add(Placed(number), stream=order)
                abandoned.close()
                with engine.connect() as connection, connection.begin() as transaction:
                    self.outbox(place, connection).add(Placed(number), stream=order)
                    transaction.rollback()

        tracemalloc.start()
        work(50)
        gc.collect()
        listeners = len(registry._key_to_collection)
        before = tracemalloc.get_traced_memory()[0]
        work(200)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()

        assert len(sqlalchemy_commit._buffers) == 0
        assert len(registry._key_to_collection) == listeners
        assert after - before < 100_000  # of 600; one session alone takes 2,000 bytes


class TestInPostgres(InPostgres, Details):
    async def test_default_isolation_level_is_rejected_at_the_commit(self, place: Place, order: str) -> None:
        strict = create_engine(address(place, self.driver), isolation_level="SERIALIZABLE")
        with strict.connect() as connection:
            connection.execute(text(f"INSERT INTO {place.orders} VALUES ('{order}', 1)"))
            self.outbox(place, connection).add(Placed(1), stream=order)
            with pytest.raises(fait.UsageError, match="READ COMMITTED"):
                connection.commit()
        strict.dispose()

        assert (await place.count(order), await place.events(order)) == (None, [])

    async def test_event_order_is_the_order_of_commits(self, place: Place, engine: Engine, order: str) -> None:
        with Session(engine) as session:
            session.add(Order(name=order, count=0))
            session.commit()
        for first in (1, 2):
            sessions = {number: Session(engine, expire_on_commit=False) for number in (1, 2)}
            for number, session in sessions.items():
                self.outbox(place, session).add(Changed(number), stream=order)
            for number in (first, 3 - first):
                sessions[number].get_one(Order, order).count = number
                sessions[number].commit()
                sessions[number].close()
            assert await place.count(order) == 3 - first

        assert [count for _, _, count in await place.events(order)] == [1, 2, 2, 1]

    async def test_two_phase_commit_stores_events(self, order: str) -> None:
        with PostgresServer(options={"max_prepared_transactions": "5"}) as server:
            async with shop.open(f"{server.url}?schema=log", run="elsewhere"):
                place = Place("postgresql", "", server.url, "log", "log.orders")
            await place.run("CREATE TABLE log.orders (name text PRIMARY KEY, count integer NOT NULL)")
            made = engine(place, "psycopg2", execution_options=self.options(place))
            with Session(made, twophase=True) as session:
                for end in (Session.rollback, Session.commit):
                    for prepares in (True, False):
                        name = f"{order}-{end.__name__}-{prepares}"
                        session.add(Order(name=name, count=1))
                        self.outbox(place, session).add(Placed(1), stream=name)
                        if prepares:
                            session.prepare()
                        end(session)
                        stored = [("placed", 1, 1)] if end is Session.commit else []
                        assert await place.events(name) == stored
                session.add(Order(name=order, count=1))
                self.outbox(place, session).add(Placed(1), stream=order, expected=3)
                with pytest.raises(fait.WrongExpectedVersion):
                    session.prepare()
                session.rollback()
            with made.connect() as connection:
                transaction = connection.begin_twophase()
                self.outbox(place, connection).add(Placed(1), stream=order)
                transaction.rollback()
                with connection.begin():
                    connection.execute(text("SELECT 1"))
                transaction = connection.begin_twophase()
                connection.execute(text(f"INSERT INTO log.orders VALUES ('{order}', 1)"))
                self.outbox(place, connection).add(Placed(1), stream=order, expected=3)
                with pytest.raises(fait.WrongExpectedVersion):
                    transaction.commit()
                connection.rollback()
                with connection.begin():
                    connection.execute(text("SELECT 1"))
                transaction = connection.begin_twophase()
                transaction.prepare()
                self.outbox(place, connection).add(Placed(2), stream=order)
                with pytest.raises(DBAPIError):
                    transaction.commit()
                assert await place.fetch("SELECT * FROM pg_prepared_xacts") == []
            made.dispose()

            assert await place.events(order) == []
            assert await place.count(order) is None

    async def test_async_scoped_sessions_and_session_hooks(self, place: Place, order: str) -> None:
        made = create_async_engine(address(place, "asyncpg"))
        make = async_sessionmaker(made)
        sessions = async_scoped_session(make, scopefunc=lambda: 1)

        def collect(session: Session) -> None:
            self.outbox(place, session).add(Placed(2), stream=order)

        async with make() as session:
            event.listen(session.sync_session, "before_commit", collect)
            await self.outbox(place, session).add(Placed(1), stream=order)
            await session.commit()
        await self.outbox(place, sessions).add(Placed(3), stream=order)
        await sessions.commit()
        await sessions.remove()
        await made.dispose()

        assert [count for _, _, count in await place.events(order)] == [1, 2, 3]


class TestInSqlite(InSqlite, Details):
    driver = "pysqlite"

    async def test_implicit_transactions_of_sqlite3(self, place: Place, order: str) -> None:
        made = create_engine(address(place, self.driver))
        with Session(made) as session:
            session.add(Order(name=order, count=1))
            self.outbox(place, session).add(Placed(1), stream=order)
            session.commit()
            self.outbox(place, session).add(Placed(2), stream=order)
            with pytest.raises(fait.UsageError, match=r"No event was written.*BEGIN IMMEDIATE"):
                session.commit()
            session.rollback()
            session.begin_nested()
            with pytest.raises(fait.UsageError, match="BEGIN IMMEDIATE"):
                self.outbox(place, session).add(Placed(3), stream=order)
        made.dispose()

        assert await place.events(order) == [("placed", 1, 1)]

    async def test_savepoint_that_sqlite3_would_commit_is_rejected(self, place: Place, order: str) -> None:
        made = create_engine(address(place, self.driver))
        with Session(made) as session:
            self.outbox(place, session).add(Placed(1), stream=order)
            with session.begin_nested():
                session.add(Order(name=order, count=1))
            with pytest.raises(fait.UsageError, match="committed separately"):
                session.commit()
        made.dispose()

        assert await place.events(order) == []

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="needs the attribute autocommit of Python 3.12")
    @pytest.mark.parametrize("waits", [False, True])
    async def test_autocommit_attribute_of_python_3_12(self, place: Place, order: str, waits: bool) -> None:
        options = {"connect_args": {"autocommit": False}}

        def sell(session: Session) -> None:
            outbox = self.outbox(place, session)
            with session.begin_nested():
                outbox.add(Placed(1), stream=order)
            with suppress(LookupError), session.begin_nested():
                outbox.add(Placed(2), stream=order)
                raise LookupError
            session.commit()

        if waits:
            made = create_async_engine(address(place, "aiosqlite"), **options)
            async with AsyncSession(made) as session:
                await session.run_sync(sell)
            await made.dispose()
        else:
            with Session(create_engine(address(place, self.driver), **options)) as session:
                sell(session)
                session.bind.dispose()  # type: ignore[union-attr]

        assert await place.events(order) == [("placed", 1, 1)]

    async def test_add_to_a_file_without_a_log_names_the_commands(self, order: str, tmp_path: Any) -> None:
        made = create_engine(f"sqlite:///{tmp_path}/empty.db")
        with Session(made) as session:
            session.execute(text("CREATE TABLE numbers (number INTEGER)"))
            session.execute(text("INSERT INTO numbers VALUES (1)"))
            shop.outbox(session).add(Placed(1), stream=order)
            with pytest.raises(fait.UsageError, match="fait db init"):
                session.commit()
        made.dispose()


@pytest.mark.filterwarnings("ignore:SQLite 3")
def test_other_objects_than_sessions_and_connections_are_rejected() -> None:
    made = create_engine("sqlite://")
    for thing in (made, sessionmaker(made), make_async()):
        with pytest.raises(fait.UsageError, match=f"not {type(thing).__qualname__}"):
            shop.outbox(thing)  # type: ignore[call-overload]
    other = Session(create_engine("mysql+pymysql://", module=create_engine("sqlite://").dialect.dbapi))
    with pytest.raises(fait.UsageError, match="mysql"):
        shop.outbox(other)
    made.dispose()


def make_async() -> Any:
    return create_async_engine("sqlite+aiosqlite://")
