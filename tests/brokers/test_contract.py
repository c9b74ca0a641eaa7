"""Runs the contract of brokers on all of them: in memory, and on servers that the tests start."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from fait._delivery.brokers.memory.server import MemoryServer, server_of
from fait._delivery.brokers.open import BUILT_IN
from fait.testing.contract import BrokerContract, ServerControl
from tests.servers.broker import BrokerServer
from tests.servers.certificate import Certificate
from tests.servers.kafka import KafkaServer
from tests.servers.nats import NatsServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer


class MemoryControl:
    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def freeze(self) -> None:
        self._server.frozen = True

    async def thaw(self) -> None:
        self._server.frozen = False


class TestMemoryBroker(BrokerContract):
    scheme = "memory"

    @pytest.fixture
    def name(self) -> str:
        return uuid4().hex

    @pytest.fixture
    def url(self, name: str) -> str:
        return f"memory:{name}"

    @pytest.fixture
    def server(self, name: str) -> ServerControl:
        return MemoryControl(server_of(name))

    @pytest.fixture
    def timeout_s(self) -> float:
        return 0.1


class Control:
    """Freezes the process of a server."""

    def __init__(self, server: BrokerServer) -> None:
        self._server = server

    async def freeze(self) -> None:
        self._server.freeze()

    async def thaw(self) -> None:
        self._server.thaw()


class TestKafkaBroker(BrokerContract):
    scheme = "kafka"

    @pytest.fixture
    def url(self, kafka_server: KafkaServer) -> str:
        return kafka_server.url

    @pytest.fixture
    def server(self, kafka_server: KafkaServer) -> ServerControl:
        return Control(kafka_server)


class TestKafkaBrokerWithTlsAndWithoutTransactions(BrokerContract):
    scheme = "kafka+ssl"

    @pytest.fixture
    def url(self, kafka_tls_server: KafkaServer, certificate: Certificate) -> str:
        return f"{kafka_tls_server.url}?transactions=off&ca={certificate.public}"

    @pytest.fixture
    def server(self, kafka_tls_server: KafkaServer) -> ServerControl:
        return Control(kafka_tls_server)


class TestNatsBroker(BrokerContract):
    scheme = "nats"

    @pytest.fixture
    def url(self, nats_server: NatsServer) -> str:
        return nats_server.url

    @pytest.fixture
    def server(self, nats_server: NatsServer) -> ServerControl:
        return Control(nats_server)


class TestRedisBroker(BrokerContract):
    scheme = "redis"

    @pytest.fixture
    def url(self, redis_server: RedisServer) -> str:
        return redis_server.url

    @pytest.fixture
    def server(self, redis_server: RedisServer) -> ServerControl:
        return Control(redis_server)


class TestRedisBrokerWithTls(BrokerContract):
    scheme = "rediss"

    @pytest.fixture
    def tls_server(self, redis_servers: Callable[..., RedisServer], certificate: Certificate) -> RedisServer:
        return redis_servers(certificate=certificate)

    @pytest.fixture
    def url(self, tls_server: RedisServer, certificate: Certificate) -> str:
        return f"{tls_server.url}?ca={certificate.public}"

    @pytest.fixture
    def server(self, tls_server: RedisServer) -> ServerControl:
        return Control(tls_server)


class TestRabbitmqBroker(BrokerContract):
    scheme = "amqp"

    @pytest.fixture
    def url(self, rabbitmq_server: RabbitmqServer) -> str:
        return rabbitmq_server.url

    @pytest.fixture
    def server(self, rabbitmq_server: RabbitmqServer) -> ServerControl:
        return Control(rabbitmq_server)


class TestRabbitmqBrokerWithStreams(BrokerContract):
    """Without the tests of outages, in which queues of both kinds are the same."""

    @pytest.fixture
    def url(self, rabbitmq_server: RabbitmqServer) -> str:
        return f"{rabbitmq_server.url}?queues=stream"


class TestRabbitmqBrokerWithoutOrder(BrokerContract):
    """Without the tests of outages, in which queues of both kinds are the same."""

    @pytest.fixture
    def url(self, rabbitmq_server: RabbitmqServer) -> str:
        return f"{rabbitmq_server.url}?order=none"


class TestRabbitmqBrokerWithTls(BrokerContract):
    """Without the tests of outages, in which TLS makes no difference."""

    scheme = "amqps"

    @pytest.fixture
    def url(self, rabbitmq_tls_server: RabbitmqServer, certificate: Certificate) -> str:
        return f"{rabbitmq_tls_server.url}?ca={certificate.public}"


@pytest.mark.parametrize("scheme", BUILT_IN)
def test_every_broker_is_tested(scheme: str) -> None:
    tested = [each for each in globals().values() if isinstance(each, type) and issubclass(each, BrokerContract)]

    assert scheme in {getattr(each, "scheme", None) for each in tested}
