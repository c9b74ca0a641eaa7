"""Fixtures and marks of all tests.

Async tests run on asyncio. A server is started once per test process, for the first test that uses it. The marks
`server` and `slow`, which `make quick` excludes, follow from fixtures and folders.
"""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from fait._store.open import entry_points_by_name
from tests.servers import certificate as certificates
from tests.servers import kafka, nats, rabbitmq, redis
from tests.servers import pgbouncer as bouncers
from tests.servers.broker import LARGE_SERVER, running
from tests.servers.certificate import Certificate
from tests.servers.kafka import KafkaServer
from tests.servers.nats import NatsServer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import RUNNING, PostgresServer, installations
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

TESTS = Path(__file__).parent
SERVER_FIXTURES = {"pgbouncer", "postgres_servers", "postgres_url"}
SERVER_FIXTURES |= {"certificate", "kafka_server", "kafka_servers", "kafka_tls_server", "nats_server", "nats_servers"}
SERVER_FIXTURES |= {"rabbitmq_server", "rabbitmq_servers", "rabbitmq_tls_server", "redis_server"}
SERVER_FIXTURES |= {"redis_servers"}
SERVER_FOLDERS = {"servers"}
LARGE_SERVERS = ("kafka", "rabbitmq")
"""Servers of which one is enough."""
SLOW_FOLDERS = {"bench", "crash", "docs", "examples", "faults", "hostile", "interleavings", "packaging", "typing"}
SLOW_FOLDERS |= {
    "delivery",
    "fleet",
    "outbox",
    "property",
    "quickstart",
    "tools",
}  # subprocesses, and hundreds of generated examples


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m "... not slow"`, do not import folders that have only slow tests."""
    deselected = "not slow" in config.option.markexpr
    return True if deselected and collection_path.parent == TESTS and collection_path.name in SLOW_FOLDERS else None


class GroupScheduling(LoadScopeScheduling):
    """Tests of the same group run in the same process: they share fixtures of their module, or a large server."""

    def _split_scope(self, nodeid: str) -> str:
        large = (each for each in LARGE_SERVERS if each in nodeid.lower())
        return next(large, nodeid.partition("[")[0].rpartition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """Divide the tests among processes, in the order of folders: the longest groups are not the largest ones."""
    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use a server, and those in folders of slow tests. The report says which use a large server."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in SLOW_FOLDERS:
            item.add_marker("slow")
        if folder in SERVER_FOLDERS or uses_server(item):
            item.add_marker("server")
        item.user_properties += [(LARGE_SERVER, each) for each in large_servers_of(item)]


def large_servers_of(item: pytest.Item) -> list[str]:
    """Return the names of the large servers that a test uses, by its fixtures and parameters."""
    names = [*getattr(item, "fixturenames", ()), *([item.callspec.id] if hasattr(item, "callspec") else ())]
    return [each for each in LARGE_SERVERS if any(each in name for name in names)]


def uses_server(item: pytest.Item) -> bool:
    """Whether a fixture starts a server, or a parameter names such a fixture, or the backend that needs one."""
    if not SERVER_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    names = [each for each in parameters if isinstance(each, str)]
    return any(each in SERVER_FIXTURES or re.fullmatch(r"postgres(ql)?( \d+)?", each) for each in names)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def missing(service: str, install: str = "") -> None:
    """Skip a test whose server is not installed; with FAIT_REQUIRE_SERVICES=1, fail it.

    Args:
        service: name of the server.
        install: the command that installs it.
    """
    advice = f": {install}" if install else ""
    if os.environ.get("FAIT_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is not installed, and FAIT_REQUIRE_SERVICES=1 requires it{advice}", pytrace=False)
    pytest.skip(f"{service} is not installed{advice}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report services that were missing, also without pytest's option -rs."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    for reason in sorted({each for each in reasons if "is not installed" in each}):
        terminalreporter.write_line(f"NOT TESTED ({reasons.count(reason)} tests): {reason}", red=True)


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Callable[..., PostgresServer]]:
    """Return the running server of a version; all tests of this process share it.

    A test that stops, kills or configures a server starts its own `PostgresServer`.
    """
    started = dict(RUNNING)
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
    """Return URLs of logs; each call names a new schema, which does not exist yet."""

    def fresh(version: int = 18) -> str:
        return f"{postgres_servers(version).url}?schema=test_{uuid4().hex}"

    return fresh


@pytest.fixture(scope="session")
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return URLs of new, empty stores of a backend, by its name: "memory", "sqlite", "postgres" or "postgres 16"."""

    def fresh(backend: str) -> str:
        if backend == "memory":
            return "memory:"
        if backend == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
        name, _, version = backend.partition(" ")
        assert name in ("postgres", "postgresql"), f"the tests have no store of the backend {backend!r}"
        return request.getfixturevalue("postgres_url")(*([int(version)] if version else []))

    return fresh


@pytest.fixture
def install_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """Install a package for the rest of a test: the name of its backend, and the source of its module.

    Returns the folder of the package, for the module path of other processes.
    """

    def install(name: str, source: str) -> Path:
        folder = tmp_path / "installed"
        metadata = folder / "third_party-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(f"[fait.backends]\n{name} = third_party:backend\n")
        (folder / "third_party.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "third_party", raising=False)
        entry_points_by_name.cache_clear()
        return folder

    yield install
    entry_points_by_name.cache_clear()


@pytest.fixture
def pgbouncer() -> Iterator[Callable[..., PgBouncer]]:
    """Start a PgBouncer in front of a server until the end of the test; takes the arguments of `PgBouncer`."""
    with contextlib.ExitStack() as started:

        def running(server: PostgresServer, **options: Any) -> PgBouncer:
            if bouncers.installed() is None:
                missing("PgBouncer")
            return started.enter_context(PgBouncer(server, **options))

        yield running


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """The NATS server that all tests of this process share; a test that stops or configures one uses `nats_servers`."""
    if nats.program() is None:
        missing("NATS", nats.INSTALL)
    with NatsServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis server that all tests of this process share; a test that stops one uses `redis_servers`."""
    if redis.program() is None:
        missing("Redis", redis.INSTALL)
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitmqServer]:
    """The RabbitMQ server that all tests of this process share: it takes seconds to start. Tests that stop it start it
    again, and use topics of their own.
    """
    if rabbitmq.program() is None:
        missing("RabbitMQ", rabbitmq.INSTALL)
    with running("rabbitmq", RabbitmqServer) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """The Kafka server that all tests of this process share; a test that stops one uses `kafka_servers`."""
    if kafka.program() is None:
        missing("Kafka", kafka.INSTALL)
    with running("kafka", KafkaServer) as server:
        yield server


@pytest.fixture
def kafka_servers() -> Iterator[Callable[..., KafkaServer]]:
    """Start Kafka servers until the end of the test; takes the arguments of `KafkaServer`."""
    if kafka.program() is None:
        missing("Kafka", kafka.INSTALL)
    with contextlib.ExitStack() as started:
        yield lambda **options: started.enter_context(KafkaServer(**options))


@pytest.fixture(scope="session")
def rabbitmq_tls_server(certificate: Certificate) -> Iterator[RabbitmqServer]:
    """A RabbitMQ server that accepts only TLS connections."""
    if rabbitmq.program() is None:
        missing("RabbitMQ", rabbitmq.INSTALL)
    with RabbitmqServer(certificate=certificate) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_tls_server(certificate: Certificate) -> Iterator[KafkaServer]:
    """A Kafka server that accepts only TLS connections."""
    if kafka.program() is None:
        missing("Kafka", kafka.INSTALL)
    with KafkaServer(certificate=certificate) as server:
        yield server


@pytest.fixture(scope="session")
def started_kafka_server() -> Iterator[KafkaServer]:
    """The Kafka server that all tests of this process share that stop one; they use `stoppable_kafka_server`."""
    if kafka.program() is None:
        missing("Kafka", kafka.INSTALL)
    with KafkaServer() as server:
        yield server


@pytest.fixture
def stoppable_kafka_server(started_kafka_server: KafkaServer) -> KafkaServer:
    """A Kafka server without topics, which the test may stop: a new one would take seconds to start."""
    if not psutil.pid_exists(started_kafka_server.pid):  # an earlier test failed
        started_kafka_server.start()
    started_kafka_server.delete_topics()
    return started_kafka_server


@pytest.fixture
def nats_servers() -> Iterator[Callable[..., NatsServer]]:
    """Start NATS servers until the end of the test; takes the arguments of `NatsServer`."""
    if nats.program() is None:
        missing("NATS", nats.INSTALL)
    with contextlib.ExitStack() as started:
        yield lambda **options: started.enter_context(NatsServer(**options))


@pytest.fixture
def redis_servers() -> Iterator[Callable[..., RedisServer]]:
    """Start Redis servers until the end of the test; takes the arguments of `RedisServer`."""
    if redis.program() is None:
        missing("Redis", redis.INSTALL)
    with contextlib.ExitStack() as started:
        yield lambda **options: started.enter_context(RedisServer(**options))


@pytest.fixture
def rabbitmq_servers() -> Iterator[Callable[..., RabbitmqServer]]:
    """Start RabbitMQ servers until the end of the test; takes the arguments of `RabbitmqServer`."""
    if rabbitmq.program() is None:
        missing("RabbitMQ", rabbitmq.INSTALL)
    with contextlib.ExitStack() as started:
        yield lambda **options: started.enter_context(RabbitmqServer(**options))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate of 127.0.0.1."""
    if not certificates.is_available():
        missing("OpenSSL", certificates.INSTALL)
    return Certificate(tmp_path_factory.mktemp("certificate"))
