"""Every backend keeps what a log promises of append conditions."""

from fait._store.open import BACKENDS
from fait.testing.contract import ConditionContract
from tests.contract.test_stores import Memory, Postgres, Sqlite


class TestMemoryConditions(Memory, ConditionContract): ...


class TestSqliteConditions(Sqlite, ConditionContract): ...


class TestPostgresConditions(Postgres, ConditionContract): ...


def test_each_backend_is_held_to_it() -> None:
    held = [each for each in globals().values() if isinstance(each, type) and issubclass(each, ConditionContract)]

    assert {getattr(each, "backend", None) for each in held} >= set(BACKENDS)
