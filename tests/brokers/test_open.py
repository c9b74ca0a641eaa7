"""Destinations and their secrets, TLS, and how brokers are found."""

import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fait.broker
from fait import BrokerUnavailable, MissingExtra, UsageError
from fait._broker_errors import BrokerPurpose, broker_needed_to
from fait._delivery.brokers import open as opening
from fait._delivery.brokers.destination import Destination, destination_of
from fait._delivery.brokers.open import import_client
from fait.broker import open_broker

pytestmark = pytest.mark.anyio

VARIABLES = {
    "PASSWORD": "p@ss:w/rd",
    "HOST": "broker",
    "URL": "nats://shop:hidden@broker:4222?token=hidden",
    "EMPTY": "",
}


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("nats://broker:4222", "nats://broker:4222", "nats://broker:4222"),
        ("nats://a:4222,b:4222", "nats://a:4222,b:4222", "nats://a:4222,b:4222"),
        (
            "nats://shop:${PASSWORD}@${HOST}:4222",
            "nats://shop:p%40ss%3Aw%2Frd@broker:4222",
            "nats://shop:***@broker:4222",
        ),
        ("redis://${HOST}/0?token=${PASSWORD}", "redis://broker/0?token=p%40ss%3Aw%2Frd", "redis://broker/0?token=***"),
        ("${URL}", VARIABLES["URL"], "nats://shop:***@broker:4222?token=***"),
        ("nats://${PASSWORD}@broker", "nats://p%40ss%3Aw%2Frd@broker", "nats://***@broker"),
        ("amqp://shop@[::1]:5672/v", "amqp://shop@[::1]:5672/v", "amqp://shop@[::1]:5672/v"),
    ],
)
def test_destination_has_the_values_of_variables_and_shows_no_secret(text: str, url: str, name: str) -> None:
    destination = destination_of(text, VARIABLES)

    assert destination.url == url
    assert destination.name == name
    assert repr(destination) == str(destination) == f"Destination({name!r})"


def test_credentials_are_decoded() -> None:
    destination = destination_of("nats://shop:${PASSWORD}@broker?tls=off", VARIABLES)

    assert destination.credentials == ("shop", "p@ss:w/rd")
    assert destination.options == {"tls": "off"}
    assert destination_of("nats://broker", {}).credentials == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "nats://shop:hidden@broker",
        "nats://shop:hidden${PASSWORD}@broker",
        "nats://shop:${PASSWORD}hidden@broker",
        "nats://broker?token=hidden",
        "nats://broker?password=hidden${PASSWORD}",
        "redis://:hidden@broker",
        "nats://hidden@broker",
    ],
)
def test_password_in_the_text_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match=r"contains a password or token. Write \$\{NAME\}") as caught:
        destination_of(text, VARIABLES)

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nats://${MISSING}", "variable MISSING, which is missing or empty"),
        ("${EMPTY}", "variable EMPTY, which is missing or empty"),
        ("nats://broker#part", "it contains #"),
        ("nats://bro ker", "it contains #, a space"),
        ("nats://broker\n", "a control character"),
        ("nats://[broker", "it is malformed"),
        ("nats://broker?tls", "malformed"),
        ("nats://broker?tls=", "no value"),
        ("nats://broker?tls=off&tls=verified", "several"),
        ("redis://broker:99999", "a port is a number from 1 to 65535"),
        ("kafka://broker:9092,broker:0", "a port is a number"),
        ("amqp://[::1]:", "a port is a number"),
    ],
)
def test_invalid_destination_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        destination_of(text, VARIABLES)


@pytest.mark.parametrize("scheme", ["nats", "redis", "kafka", "amqp"])
@pytest.mark.parametrize("mark", "/?#")
def test_password_that_is_not_encoded_is_refused_and_not_shown(scheme: str, mark: str) -> None:
    url = f"{scheme}://shop:123{mark}hidden@127.0.0.1:1"

    with pytest.raises(UsageError) as refused:
        destination_of("${URL}", {"URL": url})

    assert "hidden" not in str(refused.value)


# TLS


def test_tls_verifies_certificate_and_name_unless_the_url_says_otherwise() -> None:
    verified = destination_of("rediss://broker", {}).tls(default=True)
    asked = destination_of("nats://broker?tls=verified", {}).tls(default=False)
    unverified = destination_of("rediss://broker?tls=unverified", {}).tls(default=True)

    for context in (verified, asked):
        assert context is not None
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert unverified is not None
    assert (unverified.verify_mode, unverified.check_hostname) == (ssl.CERT_NONE, False)


def test_connection_without_tls_has_no_context() -> None:
    assert destination_of("nats://broker", {}).tls(default=False) is None
    assert destination_of("rediss://broker?tls=off", {}).tls(default=True) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rediss://broker?tls=yes", "tls= must be one of"),
        ("rediss://broker?ca=/missing.pem", "cannot be read"),
        ("rediss://broker?tls=off&ca=/ca.pem", "ca= has no effect without verified TLS"),
        ("rediss://broker?tls=unverified&ca=/ca.pem", "ca= has no effect without verified TLS"),
        ("redis://broker?ca=/ca.pem", "ca= has no effect without verified TLS"),
    ],
)
def test_invalid_option_of_tls_is_refused(url: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        destination_of(url, {}).tls(default=url.startswith("rediss:"))


# Opening


async def test_brokers_of_one_name_share_topics_and_those_of_another_do_not() -> None:
    topology = fait.broker.Topology({"orders": 2})
    await (await open_broker("memory:shared")).check(topology, create=True)

    assert len(await (await open_broker("memory:shared")).lanes("orders")) == 2
    with pytest.raises(fait.TopologyMismatch):
        await (await open_broker("memory:other")).lanes("orders")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memory:", "has a name"),
        ("memory:shop?size=1", "unknown option 'size'"),
        ("kafkaesque://broker", "it must start with one of memory:"),
        ("broker", "it must start with one of memory:"),
        ("", "it must start with one of memory:"),
    ],
)
async def test_url_of_no_broker_is_refused(url: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        await open_broker(url)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), "1", True])
async def test_invalid_timeout_is_refused(timeout_s: float) -> None:
    with pytest.raises(UsageError, match="timeout_s="):
        await open_broker("memory:shop", timeout_s=timeout_s)


async def test_variables_are_those_of_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_BROKER", "memory:from-environment")

    await open_broker("${SHOP_BROKER}")

    with pytest.raises(UsageError, match="SHOP_BROKER"):
        await open_broker("${SHOP_BROKER}", variables={})


def test_missing_client_library_names_the_extra() -> None:
    with pytest.raises(MissingExtra, match=r'pip install "fait\[nats\]"'):
        import_client("no_such_client", "NATS", "nats")


def test_client_library_that_fails_to_import_another_module_raises_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_client.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_client("broken_client", "NATS", "nats")


# Third parties


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Install a package with an adapter for `other:`, whose module has the given source."""

    def install(source: str) -> None:
        metadata = tmp_path / "other_broker-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-broker\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text("[fait.brokers]\nother = other_broker:open_broker\n")
        (tmp_path / "other_broker.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "other_broker", raising=False)
        opening._entry_points_by_scheme.cache_clear()

    return install


@pytest.fixture(autouse=True)
def forget_entry_points() -> object:
    yield
    opening._entry_points_by_scheme.cache_clear()


async def test_adapter_of_another_package_is_found_by_its_entry_point(installed: Callable[[str], None]) -> None:
    installed("async def open_broker(destination, *, timeout_s): return (destination, timeout_s)")

    assert await open_broker("other://broker", timeout_s=3) == (Destination("other://broker", {}), 3)
    assert "other" in fait.broker.broker_schemes()


async def test_entry_point_that_is_no_function_is_refused(installed: Callable[[str], None]) -> None:
    installed("open_broker = 1")

    with pytest.raises(UsageError, match=r"entry point other = 'other_broker:open_broker' .* is no function"):
        await open_broker("other://broker")


# Errors


def test_errors_say_what_happened_what_was_sent_and_the_next_step() -> None:
    unavailable = BrokerUnavailable("nats://a", "connection refused")
    assert (unavailable.broker, unavailable.reason, unavailable.outcome) == (
        "nats://a",
        "connection refused",
        "not_sent",
    )
    texts: dict[BrokerPurpose, str] = {
        "": "No message was sent. Close this connection, and try again with another one after a delay",
        "publish": "No message was sent. The events stay in the log. The relay connects again by itself, and publishes "
        "them from its checkpoint. If this lasts, run: fait broker check URL",
        "consume": "No message is handled, and none is lost. The consumer connects again by itself, and continues with "
        "the first message that is not handled. If this lasts, run: fait broker check URL",
        "check": "The check was not made; with --create, topics may have been created. Start the broker, or correct "
        "the URL, and run the command again",
    }
    for purpose, text in texts.items():
        with pytest.raises(BrokerUnavailable) as raised, broker_needed_to(purpose):
            raise BrokerUnavailable("nats://a", "connection refused")
        assert str(raised.value) == f"broker nats://a is not available: connection refused. {text}"
    unknown = BrokerUnavailable("nats://a", "no answer", "unknown")
    assert "Each message may have been accepted." in str(unknown)

    fenced = fait.Fenced("nats://a", "orders", "a successor is open")
    assert (fenced.broker, fenced.relay, fenced.reason) == ("nats://a", "orders", "a successor is open")
    assert str(fenced).startswith(
        "this publisher of relay 'orders' was fenced at broker nats://a: a successor is open."
    )

    mismatch = fait.TopologyMismatch("nats://a", {"orders": "does not exist", "mail": "has 2 lanes, not 3"})
    assert mismatch.problems == {"orders": "does not exist", "mail": "has 2 lanes, not 3"}
    assert "topic 'orders' does not exist; topic 'mail' has 2 lanes, not 3. No message" in str(mismatch)

    lost = fait.BrokerLostMessages("nats://a", "orders", 5, 9)
    assert (lost.position, lost.confirmed) == (5, 9)
    assert "up to position 5, but confirmed them up to 9" in str(lost)
    assert str(lost).endswith("from the log: fait rewind orders --app MODULE:APP --store URL.")

    ahead = fait.BrokerAhead("nats://a", "orders", 9, 5)
    assert (ahead.position, ahead.head) == (9, 5)
    assert "up to position 9, but the log ends at 5" in str(ahead)
    assert "another event, or none, at this position" in str(fait.BrokerAhead("nats://a", "orders", 9, 9))
    assert "fait log adopt --store URL" in str(ahead)

    assert str(fait.MalformedMessage("the attribute id is missing")) == (
        "malformed message: the attribute id is missing. It was not handled, and is stored until it is "
        "redriven or discarded. Correct the "
        "program that published it."
    )


@pytest.mark.parametrize("options", ["queues=classic", "heartbeat=5", "order=any", "queues=stream&order=none"])
async def test_option_of_rabbitmq_that_is_wrong_or_would_be_ignored_is_refused(options: str) -> None:
    with pytest.raises(UsageError, match="Nothing was opened"):
        await open_broker(f"amqp://127.0.0.1?{options}")
