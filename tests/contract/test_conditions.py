"""Every backend keeps what a log promises of append conditions."""

from pathlib import Path

import pytest

from fait.store.open import BACKENDS
from fait.testing.contract import ConditionContract


class TestMemoryConditions(ConditionContract):
    backend = "memory"

    @pytest.fixture
    def url(self) -> str:
        return "memory:"


class TestSqliteConditions(ConditionContract):
    backend = "sqlite"

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/store.db"


def test_each_backend_is_held_to_it() -> None:
    held = [each for each in globals().values() if isinstance(each, type) and issubclass(each, ConditionContract)]

    assert {getattr(each, "backend", None) for each in held} >= set(BACKENDS)
