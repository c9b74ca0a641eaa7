"""What a store promises, as tests. Subclass the five classes for a backend of your own, and say how it is opened.

    from fait.testing.contract import (
        ConditionContract,
        LedgerContract,
        LogContract,
        RetentionContract,
        SubscriptionContract,
    )

    class Opened:
        @pytest.fixture
        def url(self, tmp_path: Path) -> str:
            return f"mystore://{tmp_path}"       # a new, empty store for each test

    class TestMyLog(Opened, LogContract): ...
    class TestMyConditions(Opened, ConditionContract): ...
    class TestMyRetention(Opened, RetentionContract): ...
    class TestMyLedger(Opened, LedgerContract): ...
    class TestMySubscriptions(Opened, SubscriptionContract): ...

The URL's scheme must be known: add it to `fait._store.open.BACKENDS`. Needs pytest and anyio.
"""

import pytest

# Before the imports below, so that a failure shows the values.
pytest.register_assert_rewrite(
    *(f"{__name__}.{part}" for part in ("conditions", "leases", "ledger", "log", "retention", "store", "subscriptions"))
)

from fait.testing.contract.conditions import ConditionContract  # noqa: E402
from fait.testing.contract.ledger import LedgerContract  # noqa: E402
from fait.testing.contract.log import LogContract  # noqa: E402
from fait.testing.contract.retention import RetentionContract  # noqa: E402
from fait.testing.contract.subscriptions import SubscriptionContract  # noqa: E402

__all__ = ["ConditionContract", "LedgerContract", "LogContract", "RetentionContract", "SubscriptionContract"]
