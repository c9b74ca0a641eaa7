"""Runs the contracts of log, ports and subscriptions on every backend."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fait._store.open import backend_names
from fait.testing.contract import LogContract, PortContract, SubscriptionContract


class Memory:
    backend = "memory"

    @pytest.fixture
    def url(self) -> str:
        return "memory:"


class Sqlite:
    backend = "sqlite"

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/store.db"


class Postgres:
    backend = "postgresql"

    @pytest.fixture(params=[15, 18])
    def url(self, request: pytest.FixtureRequest, postgres_url: Callable[..., str]) -> str:
        return postgres_url(request.param)


class TestMemoryLog(Memory, LogContract): ...


class TestMemoryPorts(Memory, PortContract): ...


class TestMemorySubscriptions(Memory, SubscriptionContract): ...


class TestSqliteLog(Sqlite, LogContract): ...


class TestSqlitePorts(Sqlite, PortContract): ...


class TestSqliteSubscriptions(Sqlite, SubscriptionContract): ...


class TestPostgresLog(Postgres, LogContract): ...


class TestPostgresPorts(Postgres, PortContract): ...


class TestPostgresSubscriptions(Postgres, SubscriptionContract): ...


@pytest.mark.parametrize("contract", [LogContract, PortContract, SubscriptionContract])
@pytest.mark.parametrize("backend", backend_names())
def test_every_backend_is_tested(backend: str, contract: type) -> None:
    tested = [each for each in globals().values() if isinstance(each, type) and issubclass(each, contract)]

    assert backend in {getattr(each, "backend", None) for each in tested}
