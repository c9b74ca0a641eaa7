"""Runs the contract of `Log.expire` on every backend."""

from fait._store.open import backend_names
from fait.testing.contract import RetentionContract
from tests.contract.test_stores import Memory, Postgres, Sqlite


class TestMemoryRetention(Memory, RetentionContract): ...


class TestSqliteRetention(Sqlite, RetentionContract): ...


class TestPostgresRetention(Postgres, RetentionContract): ...


def test_every_backend_is_tested() -> None:
    tested = [each for each in globals().values() if isinstance(each, type) and issubclass(each, RetentionContract)]

    assert {getattr(each, "backend", None) for each in tested} >= set(backend_names())
