"""Runs the contract of append conditions on every backend."""

from fait._store.open import backend_names
from fait.testing.contract import ConditionContract
from tests.contract.test_stores import Memory, Postgres, Sqlite


class TestMemoryConditions(Memory, ConditionContract): ...


class TestSqliteConditions(Sqlite, ConditionContract): ...


class TestPostgresConditions(Postgres, ConditionContract): ...


def test_every_backend_is_tested() -> None:
    tested = [each for each in globals().values() if isinstance(each, type) and issubclass(each, ConditionContract)]

    assert {getattr(each, "backend", None) for each in tested} >= set(backend_names())
