"""The contract of brokers: all of its parts, and their fixtures."""

from collections.abc import AsyncIterator

import pytest

from fait._delivery.brokers.open import open_broker
from fait.testing.contract.broker_consuming import ConsumingContract
from fait.testing.contract.broker_fencing import FencingContract
from fait.testing.contract.broker_outages import OutageContract
from fait.testing.contract.broker_publishing import PublishingContract
from fait.testing.contract.broker_under_test import BrokerUnderTest, ServerControl

__all__ = ["BrokerContract", "BrokerUnderTest", "ServerControl"]


class BrokerContract(PublishingContract, FencingContract, OutageContract, ConsumingContract):
    """The contract that every broker must pass. A subclass overrides `url`, and `server` if the tests can stop it.

    The tests use topics of their own, so all of them can share one server.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    @pytest.fixture
    def url(self) -> str:
        """The URL of a running broker, which may have other topics."""
        raise NotImplementedError("override the fixture `url`: return the URL of a running broker")

    @pytest.fixture
    def server(self) -> ServerControl | None:
        """What stops and continues the server; None: the tests of outages are skipped."""
        return None

    @pytest.fixture
    def timeout_s(self, request: pytest.FixtureRequest) -> float:
        """Timeout for each call of the broker, in seconds: short for tests of outages, which wait for it."""
        return 2.0 if hasattr(OutageContract, request.function.__name__) else 10.0

    @pytest.fixture
    async def tested(self, url: str, server: ServerControl | None, timeout_s: float) -> AsyncIterator[BrokerUnderTest]:
        """An open broker with topics of its own."""
        async with BrokerUnderTest(lambda: open_broker(url, timeout_s=timeout_s), server) as tested:
            yield tested
