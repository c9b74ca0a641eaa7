"""Tests specific to Django: atomic blocks, hooks, requests, models, test cases and migrations."""

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.core.exceptions import SynchronousOnlyOperation
from django.core.handlers.base import BaseHandler
from django.db import DatabaseError, IntegrityError, connections, migrations, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import IsolationLevel, is_psycopg3
from django.db.migrations.state import ProjectState
from django.db.transaction import TransactionManagementError, atomic
from django.http import HttpRequest, HttpResponse
from django.test import TestCase, TransactionTestCase
from django.utils.connection import ConnectionProxy

import fait
from fait._delivery.outbox.outbox import Outbox
from tests.outbox.clients import Event, Place, Placed, shop
from tests.outbox.contract import InPostgres, InSqlite
from tests.outbox.django_clients import configured, run_tests

pytestmark = pytest.mark.usefixtures("anyio_backend")  # the fixture `place` is asynchronous


class Order(models.Model):
    name = models.TextField(primary_key=True)
    count = models.IntegerField()

    class Meta:
        app_label = "outbox"
        db_table = "orders"
        managed = False


class Database:
    """A Django database, and access to its committed rows and events."""

    def __init__(self, place: Place, alias: str) -> None:
        self.place = place
        self.alias = alias
        self.order = f"order-{uuid4().hex}"

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.alias]

    def outbox(self) -> Outbox:
        return shop.outbox(self.connection, schema=self.place.schema)

    def add(self, count: int = 1, **options: Any) -> None:
        self.outbox().add(Placed(count), stream=self.order, **options)

    def insert(self) -> None:
        Order.objects.using(self.alias).create(name=self.order, count=1)

    def atomic(self, **options: Any) -> Any:
        return atomic(using=self.alias, **options)

    def execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def events(self) -> list[Event]:
        return asyncio.run(self.place.events(self.order))

    def counts(self) -> list[Any]:
        """The committed events."""
        return [count for _, _, count in self.events()]

    def has_order(self) -> bool:
        return asyncio.run(self.place.count(self.order)) is not None


def search_path(place: Place) -> dict[str, Any]:
    return {"options": f"-c search_path={place.schema}"} if place.dialect == "postgresql" else {}


@pytest.fixture
def database(place: Place) -> Generator[Database]:
    with configured(place, **search_path(place)) as alias:
        yield Database(place, alias)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each call of the app's commit callback."""
    calls: list[str] = []
    monkeypatch.setattr(shop, "_notify_systems", lambda: calls.append("once"))
    return calls


class Connections:
    def test_proxy_resolves_to_its_connection(self, database: Database) -> None:
        proxy = ConnectionProxy(connections, database.alias)
        with database.atomic():
            shop.outbox(proxy, schema=database.place.schema).add(Placed(1), stream=database.order)
        with database.atomic():
            connection = transaction.get_connection(using=database.alias)
            shop.outbox(connection, schema=database.place.schema).add(Placed(2), stream=database.order)

        assert database.counts() == [1, 2]

    def test_add_requires_a_transaction_on_the_same_database(self, database: Database) -> None:
        with configured(database.place) as other, atomic(using=other):
            with pytest.raises(fait.UsageError, match=rf"`with transaction\.atomic\(using='{database.alias}'\):`"):
                database.add()
            with database.connection.cursor() as cursor:
                cursor.execute("SELECT 1")

        assert database.counts() == []

    def test_copied_or_foreign_thread_connection_is_rejected(self, database: Database) -> None:
        copy = database.connection.copy()
        with pytest.raises(fait.UsageError, match="is a copy, or belongs to another thread"):
            shop.outbox(copy)

    def test_other_objects_than_connections_are_rejected(self, database: Database) -> None:
        with (
            database.connection.cursor() as cursor,
            pytest.raises(fait.UsageError, match=r"Pass django\.db\.connection"),
        ):
            shop.outbox(cursor)
        for other in (cache, Order(name="1", count=1), Order.objects.all()):
            with pytest.raises(fait.UsageError, match="takes a connection, not"):
                shop.outbox(other)  # type: ignore[call-overload]

    def test_unsupported_database_is_rejected(self) -> None:
        class MySql(BaseDatabaseWrapper):
            vendor, display_name = "mysql", "MySQL"
            client_class = creation_class = features_class = introspection_class = ops_class = validation_class = Any

            def __init__(self) -> None:
                pass

        with pytest.raises(fait.UsageError, match="MySQL is not supported"):
            shop.outbox(MySql())


class Blocks:
    def test_add_after_an_error_in_the_block_raises_usage_error(self, database: Database) -> None:
        with database.atomic():
            database.insert()
            with suppress(IntegrityError):
                database.insert()
            with pytest.raises(fait.UsageError, match="can only be rolled back"):
                database.add()
            with pytest.raises(fait.UsageError, match="can only be rolled back"), database.outbox().transaction():
                pass

        assert (database.has_order(), database.events()) == (False, [])

    def test_error_in_an_inner_block_leaves_the_outer_block_usable(self, database: Database) -> None:
        with database.atomic():
            database.insert()
            with suppress(IntegrityError), database.atomic():
                database.add(1)
                database.insert()
            database.add(2)

        assert (database.has_order(), database.counts()) == (True, [2])

    def test_caught_outbox_error_does_not_commit_the_change_alone(self, database: Database) -> None:
        with database.atomic():
            database.insert()
            with suppress(fait.WrongExpectedVersion):
                database.add(expected=7)
            with pytest.raises(TransactionManagementError):
                Order.objects.using(database.alias).count()

        assert (database.has_order(), database.events()) == (False, [])

    def test_failed_inner_block_removes_its_events(self, database: Database) -> None:
        with database.atomic(durable=True):
            database.add(1)
            with suppress(LookupError), database.atomic():
                with database.atomic(savepoint=False):
                    database.add(2)
                raise LookupError
            with suppress(LookupError), database.outbox().transaction() as outbox:
                outbox.add(Placed(3), stream=database.order)
                raise LookupError
            with database.outbox().transaction() as outbox:
                outbox.add(Placed(4), stream=database.order)

        assert database.counts() == [1, 4]

    def test_block_marked_for_rollback_raises_at_its_end(self, database: Database) -> None:
        def block() -> None:
            with database.outbox().transaction() as outbox:
                outbox.add(Placed(1), stream=database.order)
                transaction.set_rollback(True, using=database.alias)

        with pytest.raises(fait.UsageError, match=r"set_rollback\(True\)"):
            block()
        assert database.events() == []

    def test_failed_commit_stores_nothing(self, database: Database, calls: list[str]) -> None:
        table = f"lines_{uuid4().hex}"
        database.execute(f"CREATE TABLE {table} (name TEXT REFERENCES orders DEFERRABLE INITIALLY DEFERRED)")

        def block() -> None:
            with database.outbox().transaction() as outbox:
                database.execute(f"INSERT INTO {table} VALUES ('missing')")
                outbox.add(Placed(1), stream=database.order)

        with pytest.raises(IntegrityError):
            block()
        assert (database.events(), calls) == ([], [])

    def test_transaction_without_autocommit_is_committed_by_the_caller(
        self, database: Database, calls: list[str]
    ) -> None:
        transaction.set_autocommit(False, using=database.alias)
        database.add(1)
        transaction.commit(using=database.alias)
        database.add(2)
        transaction.rollback(using=database.alias)
        database.insert()
        database.add(3)
        assert database.counts() == [1]
        transaction.commit(using=database.alias)
        transaction.set_autocommit(True, using=database.alias)

        assert (database.has_order(), database.counts(), calls) == (True, [1, 3], [])


class Hooks:
    def test_on_commit_is_called_after_the_commit(self, database: Database, calls: list[str]) -> None:
        with database.atomic():
            database.add(1)
            with suppress(LookupError), database.atomic():
                database.add(2)
                raise LookupError
            with database.atomic():
                database.add(3)
            assert calls == []
        with suppress(LookupError), database.atomic():
            database.add(4)
            raise LookupError

        assert database.counts() == [1, 3]
        assert calls == ["once", "once"]

    def test_execute_wrappers_receive_the_statements_of_the_outbox(self, database: Database) -> None:
        seen: list[str] = []

        def look(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
            seen.append(sql)
            return execute(sql, *arguments)

        database.connection.force_debug_cursor = True
        with database.connection.execute_wrapper(look), database.atomic():
            seen.clear()
            event = fait.Untyped("outbox.undeclared", {"count": "100 % %s %(a)s ?"})
            database.outbox().add(event, stream=database.order, tags=["kind:%s"])

        assert database.counts() == ["100 % %s %(a)s ?"]
        assert len(seen) == (1 if database.place.dialect == "postgresql" else 5)
        assert any("100 % %s %(a)s ?" in query["sql"] for query in database.connection.queries_log)


class Requests:
    """With ATOMIC_REQUESTS, each view runs in an atomic block."""

    def ask(self, database: Database, view: Callable[[], None]) -> None:
        def respond(request: HttpRequest) -> HttpResponse:
            view()
            return HttpResponse()

        connections.settings[database.alias]["ATOMIC_REQUESTS"] = True
        BaseHandler().make_view_atomic(respond)(HttpRequest())

    def test_view_that_returns_commits(self, database: Database) -> None:
        def view() -> None:
            database.insert()
            database.add()

        self.ask(database, view)

        assert (database.has_order(), database.counts()) == (True, [1])

    def test_view_that_raises_stores_nothing(self, database: Database) -> None:
        def view() -> None:
            database.insert()
            database.add()
            raise LookupError

        with pytest.raises(LookupError):
            self.ask(database, view)

        assert (database.has_order(), database.counts()) == (False, [])

    def test_view_that_returns_a_conflict_stores_nothing(self, database: Database) -> None:
        def view() -> None:
            database.insert()
            with suppress(fait.WrongExpectedVersion):
                database.add(expected="exists")

        self.ask(database, view)

        assert (database.has_order(), database.counts()) == (False, [])

    def test_asynchronous_view_runs_its_block_in_a_thread(self, database: Database) -> None:
        def place() -> None:
            with configured(database.place, **search_path(database.place)) as alias:
                in_thread = Database(database.place, alias)
                with in_thread.atomic():
                    in_thread.outbox().add(Placed(1), stream=database.order)

        async def view() -> None:
            await sync_to_async(place)()
            with pytest.raises(SynchronousOnlyOperation):
                ConnectionProxy(connections, database.alias).cursor()

        asyncio.run(view())

        assert database.counts() == [1]


class InTests:
    """The test case classes of Django."""

    def test_test_case_rolls_back_everything(self, database: Database, calls: list[str]) -> None:
        class Case(TestCase):
            databases = frozenset([database.alias])

            def test_it(self) -> None:
                with database.atomic():
                    database.add(1)
                with database.outbox().transaction() as outbox:
                    outbox.add(Placed(2), stream=database.order)
                with database.connection.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM fait_events WHERE stream = %s", [database.order])
                    assert cursor.fetchone() == (2,)
                assert calls == []

            def test_hooks(self) -> None:
                with self.captureOnCommitCallbacks(using=database.alias, execute=True) as callbacks, database.atomic():
                    database.add(1)
                assert (len(callbacks), len(calls)) == (1, 1)
                calls.clear()

        run_tests(Case)

        assert database.events() == []

    def test_transaction_test_case_commits(self, database: Database, calls: list[str]) -> None:
        class Case(TransactionTestCase):
            databases = frozenset([database.alias])

            def test_it(self) -> None:
                with database.atomic():
                    database.add(1)
                assert len(calls) == 1

        run_tests(Case)

        assert database.counts() == [1]

    def test_migration_creates_the_log(self, database: Database, tmp_path: Path) -> None:
        """A migration runs the output of `fait db sql`; Django applies it to its test databases too."""
        schema = "public" if database.place.dialect == "sqlite" else f"log_{uuid4().hex}"
        where = ["--store", "sqlite:///none.db"] if database.place.dialect == "sqlite" else ["--schema", schema]
        script = subprocess.check_output(
            [Path(sys.executable).with_name("fait"), "db", "sql", *where], cwd=tmp_path, text=True
        )
        place = database.place._replace(schema=schema)
        if place.dialect == "sqlite":
            place = place._replace(address=str(tmp_path / "test.db"))

        class Migration(migrations.Migration):
            atomic = False
            operations = (migrations.RunSQL(script, migrations.RunSQL.noop),)

        with configured(place) as alias:
            migrated = Database(place, alias)
            with migrated.connection.schema_editor(atomic=False) as editor:
                Migration("0001_log", "orders").apply(ProjectState(), editor)
            with migrated.atomic():
                migrated.add()
            assert migrated.counts() == [1]


class TestInPostgres(InPostgres, Connections, Blocks, Hooks, Requests, InTests):
    @pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
    def test_isolation_level_in_the_options_is_rejected(self, place: Place, level: str) -> None:
        with configured(place, isolation_level=getattr(IsolationLevel, level), **search_path(place)) as alias:
            database = Database(place, alias)

            def block() -> None:
                with database.atomic():
                    database.insert()
                    database.add()

            with pytest.raises(fait.UsageError, match="Use READ COMMITTED"):
                block()
            assert (database.has_order(), database.events()) == (False, [])

    def test_pool_connection_stores_events(self, place: Place) -> None:
        if not is_psycopg3:
            pytest.skip("Django's pool is psycopg 3's")
        with configured(place, pool={"min_size": 1}, **search_path(place)) as alias:
            database = Database(place, alias)
            with database.atomic():
                database.add()
            pooled: Any = database.connection
            pooled.close()
            pooled.close_pool()
            assert database.counts() == [1]

    def test_add_after_a_failure_unknown_to_django_raises_usage_error(self, database: Database) -> None:
        def block() -> None:
            with database.atomic():
                with suppress(DatabaseError):
                    database.execute("SELECT * FROM nothing")
                database.add()

        with pytest.raises(fait.UsageError, match="an earlier statement of this transaction failed"):
            block()
        assert database.events() == []


class TestInSqlite(InSqlite, Connections, Blocks, Hooks, Requests, InTests):
    def test_transaction_begun_with_plain_sql_is_not_recognized(self, database: Database) -> None:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(fait.UsageError, match="no transaction is open"):
            database.add()
        database.execute("ROLLBACK")

    def test_add_in_a_manually_ended_block_raises_usage_error(self, database: Database) -> None:
        def block() -> None:
            with database.atomic():
                database.execute("COMMIT")
                database.add()

        with pytest.raises(fait.UsageError, match="no transaction is open"):
            block()
        assert database.events() == []

    def test_block_holds_the_write_lock_from_its_beginning(self, place: Place) -> None:
        writer = sqlite3.connect(place.address, isolation_level=None, timeout=0)
        with configured(place, transaction_mode=None) as alias:
            database = Database(place, alias)
            with database.outbox().transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
                writer.execute("BEGIN IMMEDIATE")
        writer.close()

    def test_add_waits_for_another_writer_until_the_timeout_option(self, place: Place) -> None:
        writer = sqlite3.connect(place.address, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        for mode in (None, "IMMEDIATE"):
            with configured(place, transaction_mode=mode, timeout=0.05) as alias:
                block = Database(place, alias).outbox().transaction()
                with pytest.raises(fait.StoreUnavailable, match=r"another connection is writing.*Nothing was written"):
                    block.__enter__()
        writer.close()


def test_outdated_sqlite_causes_a_warning() -> None:
    program = """
        import sqlite3
        sqlite3.dbapi2.sqlite_version_info = (3, 51, 2)
        import fait
        from django.conf import settings
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        from django.db import connection
        fait.App("warned").outbox(connection)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)

    assert ran.stderr.startswith("<string>:8: UserWarning: SQLite 3.51.2")
