"""The contracts of stores and of brokers as tests. Their authors subclass them and override `url`.

The author of a backend subclasses five classes:

    from fait.testing.contract import (
        ConditionContract,
        PortContract,
        LogContract,
        RetentionContract,
        SubscriptionContract,
    )

    class MyStore:
        @pytest.fixture
        def url(self, tmp_path: Path) -> str:
            return f"mystore://{tmp_path}"       # a new, empty store for each test

    class TestMyLog(MyStore, LogContract): ...
    class TestMyConditions(MyStore, ConditionContract): ...
    class TestMyRetention(MyStore, RetentionContract): ...
    class TestMyPorts(MyStore, PortContract): ...
    class TestMySubscriptions(MyStore, SubscriptionContract): ...

The author of a broker's adapter subclasses one, whose tests can share a server:

    from fait.testing.contract import BrokerContract

    class TestMyBroker(BrokerContract):
        @pytest.fixture
        def url(self) -> str:
            return "mybroker://localhost"

Declare the entry point first (see `fait.store` and `fait.broker`). Needs pytest and anyio.
"""

import pytest

# Before the imports below, so that failed assertions show their values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            "arguments",
            "broker",
            "broker_consuming",
            "broker_fencing",
            "broker_outages",
            "broker_publishing",
            "broker_under_test",
            "closing",
            "conditions",
            "epochs",
            "failures",
            "handler_appends",
            "inbox",
            "leases",
            "log",
            "own_writes",
            "policies",
            "ports",
            "repetition",
            "processors",
            "ranges",
            "recording_times",
            "retention",
            "sizes",
            "store",
            "subscriptions",
        )
    )
)

from fait.testing.contract.broker import BrokerContract, BrokerUnderTest, ServerControl  # noqa: E402
from fait.testing.contract.conditions import ConditionContract  # noqa: E402
from fait.testing.contract.log import LogContract  # noqa: E402
from fait.testing.contract.ports import PortContract  # noqa: E402
from fait.testing.contract.retention import RetentionContract  # noqa: E402
from fait.testing.contract.subscriptions import SubscriptionContract  # noqa: E402

__all__ = [
    "BrokerContract",
    "BrokerUnderTest",
    "ConditionContract",
    "LogContract",
    "PortContract",
    "RetentionContract",
    "ServerControl",
    "SubscriptionContract",
]
