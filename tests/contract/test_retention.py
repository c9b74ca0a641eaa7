"""Every backend keeps what a log promises of messages that expire."""

from fait._store.open import BACKENDS
from fait.testing.contract import RetentionContract
from tests.contract.test_stores import Memory, Postgres, Sqlite


class TestMemoryRetention(Memory, RetentionContract): ...


class TestSqliteRetention(Sqlite, RetentionContract): ...


class TestPostgresRetention(Postgres, RetentionContract): ...


def test_each_backend_is_held_to_it() -> None:
    held = [each for each in globals().values() if isinstance(each, type) and issubclass(each, RetentionContract)]

    assert {getattr(each, "backend", None) for each in held} >= set(BACKENDS)
