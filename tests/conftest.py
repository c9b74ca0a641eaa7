"""What every test shares: async tests run on asyncio, and servers are started once, when the first test asks."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.servers import pgbouncer as bouncers
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer, installations


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def missing(service: str) -> None:
    """Skip a test whose server is not installed; where all must be, fail it."""
    if os.environ.get("FAIT_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is not installed, and FAIT_REQUIRE_SERVICES=1 asks for it", pytrace=False)
    pytest.skip(f"{service} is not installed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested, also when nobody asked for the reasons of skipped tests."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    for reason in sorted({each for each in reasons if "is not installed" in each}):
        terminalreporter.write_line(f"NOT TESTED ({reasons.count(reason)} tests): {reason}", red=True)


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Callable[..., PostgresServer]]:
    """Gives the running server of a version, the same for all tests of this process that ask: leave it running.

    A test that stops, kills or configures a server makes its own `PostgresServer`.
    """
    started: dict[int, PostgresServer] = {}
    with contextlib.ExitStack() as servers:

        def running(version: int = 18) -> PostgresServer:
            if version not in installations():
                missing(f"PostgreSQL {version}")
            if version not in started:
                started[version] = servers.enter_context(PostgresServer(version))
            return started[version]

        yield running


@pytest.fixture(scope="session")
def postgres_url(postgres_servers: Callable[..., PostgresServer]) -> Callable[..., str]:
    """Makes addresses of logs: each call names a schema that is not there yet."""

    def fresh(version: int = 18) -> str:
        return f"{postgres_servers(version).url}?schema=test_{uuid4().hex}"

    return fresh


@pytest.fixture(scope="session")
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes addresses of new, empty stores of any backend, by its name."""

    def fresh(backend: str) -> str:
        if backend == "memory":
            return "memory:"
        if backend == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
        return request.getfixturevalue("postgres_url")()

    return fresh


@pytest.fixture
def pgbouncer() -> Iterator[Callable[..., PgBouncer]]:
    """Puts a PgBouncer in front of a server until the end of the test; arguments are those of `PgBouncer`."""
    with contextlib.ExitStack() as started:

        def running(server: PostgresServer, **options: Any) -> PgBouncer:
            if bouncers.installed() is None:
                missing("PgBouncer")
            return started.enter_context(PgBouncer(server, **options))

        yield running
