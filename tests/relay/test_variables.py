"""Variables of relays and consumers: a process that would run them does not start if one is missing or invalid."""

from collections.abc import Callable

import pytest

import fait
from tests.relay.published import Counted, append, relay_app


async def test_missing_variables_are_named_together_and_nothing_is_opened(
    store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, app = store_url("sqlite"), relay_app("${ORDERS_BROKER}", sign="${ORDERS_KEY}")
    app.relay(Counted, to="nats://shop:${PASSWORD}@broker", topic="others")
    app.consume("orders", from_="${ORDERS_BROKER}", trusts=["${ORDERS_LOG}"], name="count")(lambda event: None)
    monkeypatch.setenv("PASSWORD", "")

    with pytest.raises(fait.UsageError) as missing:
        async with app.open(url):
            pass

    assert str(missing.value) == (
        "environment variables are missing or empty: ORDERS_BROKER (to= of relay 'relay-orders', from_= of consumer "
        "'count'), ORDERS_KEY (sign= of relay 'relay-orders'), PASSWORD (to= of relay 'relay-others'), ORDERS_LOG "
        "(trusts= of consumer 'count'). Set them. A process that opens the app with run='elsewhere' does not need "
        "them. Nothing was opened."
    )
    with pytest.raises(fait.UsageError, match="no store"):
        async with app.open(url, run="elsewhere", create=False):
            pass
    async with app.open(url, run="elsewhere") as system:
        await append(system, 1)


@pytest.mark.parametrize(
    ("broker", "key", "other", "message"),
    [
        ("orders", "k" * 32, "k" * 32, "relay 'relay-orders': unknown broker URL"),
        ("memory:x", "secret", "k" * 32, "relay 'relay-orders': the variable ORDERS_KEY has no key"),
        ("memory:x", "k" * 32, "secret", "consumer 'count': the variable OTHER_KEY has no key"),
    ],
)
async def test_variable_without_a_valid_value_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, broker: str, key: str, other: str, message: str
) -> None:
    monkeypatch.setenv("ORDERS_BROKER", broker)
    monkeypatch.setenv("ORDERS_KEY", key)
    monkeypatch.setenv("OTHER_KEY", other)
    app = relay_app("${ORDERS_BROKER}", sign="${ORDERS_KEY}")
    app.consume("orders", from_="${ORDERS_BROKER}", verify="${OTHER_KEY}", name="count")(lambda event: None)

    with pytest.raises(fait.UsageError, match=message) as refused:
        async with app.open("memory:"):
            pass

    assert "secret" not in str(refused.value)
