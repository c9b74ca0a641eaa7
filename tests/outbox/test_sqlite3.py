"""The outbox adapter for the standard library's sqlite3."""

import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing, suppress
from typing import Any

import pytest

import fait
from tests.outbox.clients import Client, Place, Placed, ThreadClient, shop
from tests.outbox.contract import InSqlite, OutboxContract, SqliteContract


class Sqlite3Client(ThreadClient):
    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    async def begin(self, isolation: str | None = None) -> None:
        await self.execute("BEGIN IMMEDIATE")

    async def commit(self) -> None:
        await self.do(self.connection.commit)

    async def rollback(self) -> None:
        await self.do(self.connection.rollback)

    async def savepoint(self) -> None:
        await self.execute("SAVEPOINT here")

    async def rollback_savepoint(self) -> None:
        await self.execute("ROLLBACK TO here")

    async def execute(self, sql: str) -> None:
        await self.do(lambda: self.connection.execute(sql).fetchall())


class TestSqlite3(InSqlite, SqliteContract, OutboxContract):
    async def connect(self, place: Place) -> Client:
        client = Sqlite3Client(place)
        client.connection = await client.do(lambda: sqlite3.connect(place.address, isolation_level=None))
        return client

    @pytest.mark.parametrize("isolation_level", ["", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
    async def test_implicitly_begun_transaction_stores_events(
        self, place: Place, order: str, isolation_level: Any
    ) -> None:
        with closing(sqlite3.connect(place.address, isolation_level=isolation_level)) as connection:
            outbox = shop.outbox(connection)
            connection.execute("INSERT INTO orders VALUES (?, 1)", (order,))
            outbox.add(Placed(1), stream=order)
            connection.commit()
            outbox.add(Placed(2), stream=order)
            connection.commit()
            outbox.add(Placed(3), stream=order)
            connection.rollback()
            with connection:
                outbox.add(Placed(4), stream=order)
            with outbox.transaction():
                outbox.add(Placed(5), stream=order)

        assert [count for _, _, count in await place.events(order)] == [1, 2, 4, 5]

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="needs the attribute autocommit of Python 3.12")
    async def test_autocommit_attribute_of_python_3_12(self, place: Place, order: str) -> None:
        options: Any = {"autocommit": False}
        with closing(sqlite3.connect(place.address, **options)) as connection:
            outbox = shop.outbox(connection)
            outbox.add(Placed(1), stream=order)
            connection.commit()
            outbox.add(Placed(2), stream=order)
            connection.rollback()
            with pytest.raises(fait.UsageError, match="autocommit=False"), outbox.transaction():
                pass
        options["autocommit"] = True
        with closing(sqlite3.connect(place.address, **options)) as connection:
            outbox = shop.outbox(connection)
            with pytest.raises(fait.UsageError, match="no transaction is open"):
                outbox.add(Placed(3), stream=order)
            connection.execute("BEGIN IMMEDIATE")
            outbox.add(Placed(4), stream=order)
            connection.execute("COMMIT")
            with outbox.transaction():
                outbox.add(Placed(5), stream=order)
            with suppress(LookupError), outbox.transaction():
                outbox.add(Placed(6), stream=order)
                raise LookupError

        assert [count for _, _, count in await place.events(order)] == [1, 4, 5]

    async def test_row_factories_of_the_connection_have_no_effect(self, place: Place, order: str) -> None:
        def as_dict(cursor: sqlite3.Cursor, row: Any) -> Any:
            return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}

        for row_factory in (sqlite3.Row, as_dict, None):
            with closing(sqlite3.connect(place.address)) as connection:
                connection.row_factory = row_factory
                connection.text_factory = bytes
                shop.outbox(connection).add(Placed(1), stream=order, key=str(row_factory))
                connection.commit()
                shop.outbox(connection).add(Placed(1), stream=order, key=str(row_factory))
                connection.commit()

        assert [version for _, version, _ in await place.events(order)] == [1, 2, 3]

    def test_cursor_is_rejected(self, place: Place) -> None:
        with (
            closing(sqlite3.connect(place.address)) as connection,
            pytest.raises(fait.UsageError, match=r"not Cursor.*`cursor\.connection`"),
        ):
            shop.outbox(connection.cursor())

    async def test_block_whose_transaction_another_one_replaced_is_rolled_back(self, place: Place, order: str) -> None:
        with closing(sqlite3.connect(place.address)) as connection:

            def block() -> None:
                with shop.outbox(connection).transaction() as outbox:
                    outbox.add(Placed(1), stream=order)
                    connection.rollback()
                    connection.execute("INSERT INTO orders VALUES (?, 1)", (order,))  # begins a transaction
                    outbox.add(Placed(2), stream=order)

            with pytest.raises(fait.UsageError, match="has ended before the block"):
                block()

        assert (await place.events(order), await place.count(order)) == ([], None)

    async def test_a_block_whose_commit_fails_leaves_nothing(self, place: Place, order: str) -> None:
        with closing(sqlite3.connect(place.address)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("CREATE TABLE lines (name TEXT REFERENCES orders DEFERRABLE INITIALLY DEFERRED)")

            def block() -> None:
                with shop.outbox(connection).transaction() as outbox:
                    outbox.add(Placed(1), stream=order)
                    connection.execute("INSERT INTO lines VALUES ('missing')")

            with pytest.raises(sqlite3.IntegrityError):
                block()
            assert not connection.in_transaction

        assert await place.events(order) == []


def warned(version: str) -> list[str]:
    """The standard error of a program with two connections, for a given version of SQLite."""
    program = f"""
        import sqlite3
        sqlite3.sqlite_version_info = {version}
        import fait
        shop = fait.App("warned")
        for _ in range(2):
            shop.outbox(sqlite3.connect(":memory:"))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True, timeout=60
    )
    return [line for line in ran.stderr.splitlines() if "Warning" in line]


def test_outdated_sqlite_causes_one_warning() -> None:
    [warning] = warned("(3, 51, 2)")

    assert warning.startswith("<string>:7: UserWarning: SQLite 3.51.2")
    assert "PRAGMA wal_autocheckpoint = 0" in warning


def test_current_sqlite_causes_no_warning() -> None:
    assert warned("(3, 51, 3)") == []
