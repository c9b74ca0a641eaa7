"""The contract of a store as tests. The author of a backend subclasses all five classes and overrides `url`.

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

Declare the entry point of the backend first (see `fait.store`). Needs pytest and anyio.
"""

import pytest

# Before the imports below, so that failed assertions show their values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            "arguments",
            "closing",
            "conditions",
            "epochs",
            "handler_appends",
            "leases",
            "log",
            "ports",
            "repetition",
            "processors",
            "recording_times",
            "retention",
            "sizes",
            "store",
            "subscriptions",
        )
    )
)

from fait.testing.contract.conditions import ConditionContract  # noqa: E402
from fait.testing.contract.log import LogContract  # noqa: E402
from fait.testing.contract.ports import PortContract  # noqa: E402
from fait.testing.contract.retention import RetentionContract  # noqa: E402
from fait.testing.contract.subscriptions import SubscriptionContract  # noqa: E402

__all__ = ["ConditionContract", "LogContract", "PortContract", "RetentionContract", "SubscriptionContract"]
