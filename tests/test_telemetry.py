"""What a system tells its telemetry: metrics and spans with the declared names, and never a value of an event."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

import fait
from fait._telemetry import METRICS
from fait.testing.contract.store import START
from fait.testing.faults import conflicts
from tests.faults.load import until
from tests.inbox.topics import new_topic, placed

pytestmark = pytest.mark.anyio

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
METRIC_OF_KEYS = "fait.subscription.failed_keys"
DECLARED = {metric.name: metric for metric in METRICS}


@fait.event("bank.paid")
class Paid:
    to: str


class Account(fait.Aggregate, category="account"):
    payments: int = 0

    def pay(self, to: str) -> None:
        if to == "secret-stranger":
            raise fait.Rejected("secret: unknown")
        self.emit(Paid(to))

    def look(self) -> int:
        return self.payments

    def evolve(self, event: Paid) -> None:
        self.payments += 1


class Recorded:
    """A telemetry that keeps everything it gets."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, float, dict[str, Any]]] = []
        self.spans: list[dict[str, Any]] = []

    def count(self, name: str, number: int, attributes: Any, /) -> None:
        assert DECLARED[name].kind == "counter"
        self._keep(name, number, attributes)

    def measure(self, name: str, value: float, attributes: Any, /) -> None:
        assert DECLARED[name].kind in ("histogram", "gauge")
        self._keep(name, value, attributes)

    def _keep(self, name: str, value: float, attributes: Any) -> None:
        assert tuple(sorted(attributes)) == tuple(sorted(DECLARED[name].attributes))
        self.metrics.append((name, value, dict(attributes)))

    @contextmanager
    def span(
        self, name: str, kind: str, attributes: Any, /, *, parent: str | None = None, links: Sequence[str] = ()
    ) -> Iterator[str | None]:
        span = {"name": name, "kind": kind, "attributes": attributes, "parent": parent, "links": list(links)}
        self.spans.append(span)
        yield f"00-{len(self.spans):032x}-b7ad6b7169203331-01"

    def values(self, metric: str, /, **attributes: Any) -> list[float]:
        return [value for each, value, given in self.metrics if each == metric and attributes.items() <= given.items()]


@pytest.fixture
def telemetry() -> Recorded:
    return Recorded()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def s(
    request: pytest.FixtureRequest, store_url: Callable[[str], str], telemetry: Recorded
) -> AsyncIterator[fait.System]:
    app = fait.App("bank")
    app.include(Account)

    @app.on(Paid, start="beginning", on_failure=fait.FailurePolicy(0, 0))
    async def notify(event: Paid, ctx: fait.Context) -> None:
        if event.to == "secret-handler" and ctx.attempt == 1:
            raise ValueError("secret")
        if event.to == "secret-reply":
            await ctx.transact(Account.pay, "2", "secret-answer")

    async with app.open(store_url(request.param), clock=fait.ManualClock(START), telemetry=telemetry) as system:
        yield system


async def test_commands_and_appends_are_measured_with_their_outcomes(s: fait.System, telemetry: Recorded) -> None:
    await s.transact(Account.pay, "1", "secret-ada")
    await s.transact(Account.look, "1")
    await s.publish(Paid("secret-bob"), stream="account-1")
    with pytest.raises(fait.Rejected):
        await s.transact(Account.pay, "1", "secret-stranger")
    with pytest.raises(fait.WrongExpectedVersion):
        await s.using(expected="no_stream").transact(Account.pay, "1", "secret-ada")
    with pytest.raises(fait.WrongExpectedVersion):
        await s.using(expected="no_stream").publish(Paid("secret-ada"), stream="account-1")
    with conflicts(s, times=1):
        await s.transact(Account.pay, "1", "secret-ada")

    commands = Counter((each["command"], each["outcome"]) for name, _, each in telemetry.metrics if "command" in name)
    expected = {("account.pay", each): number for each, number in (("ok", 2), ("rejected", 1), ("conflict", 1))}
    assert commands == {**expected, ("account.look", "ok"): 1}
    assert telemetry.values("fait.events.appended", category="account", type="bank.paid") == [1, 1, 1]
    assert telemetry.values("fait.append.conflicts", category="account")
    assert len(telemetry.values("fait.append.duration", outcome="ok")) == 3
    assert all(0 <= each < 60 for each in telemetry.values("fait.append.duration"))


async def test_repeated_append_is_counted_once(s: fait.System, telemetry: Recorded) -> None:
    for _ in range(2):
        await s.using(key="k").publish(Paid("secret-ada"), stream="account-1")
        await s.using(key="looked").transact(Account.look, "1")

    assert len([e async for e in s.events()]) == 1
    assert telemetry.values("fait.events.appended") == [1]
    assert len(telemetry.values("fait.append.duration")) >= 3


async def test_spans_connect_request_command_and_handler(s: fait.System, telemetry: Recorded) -> None:
    with fait.caused_by(traceparent=TRACEPARENT):
        await s.transact(Account.pay, "1", "secret-ada")
        await s.publish(Paid("secret-bob"), stream="account-1")
    await s.settle()

    [command] = [each for each in telemetry.spans if each["name"].startswith("fait.command")]
    assert command == {
        "name": "fait.command account.pay", "kind": "internal", "attributes": {"fait.stream.category": "account"},
        "parent": TRACEPARENT, "links": [],
    }  # fmt: skip
    own = f"00-{1:032x}-b7ad6b7169203331-01"
    assert [each.metadata.traceparent for each in await s.read("account-1")] == [own, TRACEPARENT]
    handled = [each for each in telemetry.spans if each["name"] == "process notify"]
    assert {each["kind"] for each in handled} == {"consumer"}
    assert [link for each in handled for link in each["links"]] == [own, TRACEPARENT]


async def test_failed_attempts_and_events_of_handlers_are_counted(s: fait.System, telemetry: Recorded) -> None:
    await s.publish(Paid("secret-handler"), stream="account-1")
    await s.publish(Paid("secret-reply"), stream="account-1")
    await s.settle()

    assert telemetry.values("fait.subscription.errors", name="notify", error="ValueError") == [1]
    assert sum(telemetry.values("fait.events.appended")) == 3
    assert len(telemetry.values("fait.handle.duration", name="notify")) >= 3


async def test_subscription_that_stands_still_is_seen_in_lag_of_events_and_seconds(
    store_url: Callable[[str], str], telemetry: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._observation.REPORT_INTERVAL_S", 0.01)
    app, clock = fait.App("bank"), fait.ManualClock(START)
    app.include(Account)
    app.on(Paid, name="waiting", start="beginning")(lambda event: None)
    url = store_url("sqlite")
    async with app.open(url, clock=clock, run="elsewhere", telemetry=telemetry) as s:
        await s.publish(Paid("secret-ada"), stream="account-1")
        clock.moment += timedelta(seconds=90)
        await s.publish(Paid("secret-bob"), stream="account-1")
        await until(lambda: 2 in telemetry.values("fait.subscription.lag_events", name="waiting"))
        await until(lambda: 90 in telemetry.values("fait.subscription.lag", name="waiting"))

    assert telemetry.values("fait.store.head_position")[-1] == 2
    assert set(telemetry.values("fait.subscription.position", name="waiting")) == {0}


async def test_outage_of_a_relay_is_measured_by_its_age(
    store_url: Callable[[str], str], telemetry: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._observation.REPORT_INTERVAL_S", 0.01)
    app, clock = fait.App("bank"), fait.ManualClock(START)
    app.include(Account)
    app.relay(Paid, to="memory:telemetry-outage", topic="missing", start="beginning")
    async with app.open(store_url("sqlite"), clock=clock, telemetry=telemetry) as s:
        await until(lambda: 0 in telemetry.values("fait.subscription.outage", name="relay-missing"))
        await s.publish(Paid("secret-ada"), stream="account-1")
        await until(lambda: isinstance(s._subscription_runner.groups["relay-missing"].run.error, fait.TopologyMismatch))
        clock.moment += timedelta(seconds=90)

        await until(lambda: max(telemetry.values("fait.subscription.outage", name="relay-missing")) >= 90)


async def test_failed_keys_are_measured_by_their_state(telemetry: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._observation.REPORT_INTERVAL_S", 0.01)
    app = fait.App("bank")
    app.include(Account)

    def fail(event: Paid) -> None:
        raise ValueError("unreadable")

    app.on(Paid, name="parks", on_failure=fait.FailurePolicy(attempts=1))(fail)
    app.on(Paid, name="retries", on_failure=fait.FailurePolicy(attempts=None, initial_s=60, max_s=60))(fail)
    async with app.open("memory:", telemetry=telemetry) as s:
        for number in range(2):
            await s.publish(Paid("secret-ada"), stream=f"account-{number}")
        for name, state in (("parks", "parked"), ("retries", "retrying")):
            await until(lambda n=name, t=state: 2 in telemetry.values(METRIC_OF_KEYS, name=n, state=t))

    assert set(telemetry.values(METRIC_OF_KEYS, name="parks", state="retrying")) == {0}


async def test_outage_of_a_consumer_is_measured_and_its_lag_is_not(
    store_url: Callable[[str], str], telemetry: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._observation.REPORT_INTERVAL_S", 0.01)
    app, clock = fait.App("bank"), fait.ManualClock(START)
    app.include(Account)
    app.consume("missing", from_="memory:telemetry-consumer", name="receive")(lambda event: None)
    async with app.open(store_url("sqlite"), clock=clock, telemetry=telemetry) as s:
        await s.publish(Paid("secret-ada"), stream="account-1")
        await until(lambda: isinstance(s._subscription_runner.groups["receive"].run.error, fait.TopologyMismatch))
        clock.moment += timedelta(seconds=90)

        await until(lambda: max(telemetry.values("fait.subscription.outage", name="receive"), default=0) >= 90)
        [status] = await s.status()

    assert telemetry.values("fait.subscription.lag_events", name="receive") == []
    assert telemetry.values("fait.subscription.lag", name="receive") == []
    assert status.lag is None


async def test_backlog_of_a_consumer_is_its_lag_in_events(
    store_url: Callable[[str], str], telemetry: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._observation.REPORT_INTERVAL_S", 0.01)
    app, released = fait.App("bank"), asyncio.Event()

    async def receive(event: Any) -> None:
        await released.wait()

    async with new_topic("memory:telemetry-backlog") as topic:
        app.consume(topic.name, from_=topic.url, name="receive")(receive)
        await topic.publish(placed(1, "a"), placed(2, "b"))
        async with app.open(store_url("sqlite"), lease_s=0.5, telemetry=telemetry):
            await until(lambda: 2 in telemetry.values("fait.subscription.lag_events", name="receive"))
            released.set()
            await until(lambda: telemetry.values("fait.subscription.lag_events", name="receive")[-1] == 0)

    assert telemetry.values("fait.subscription.lag", name="receive") == []


async def test_no_value_of_an_event_is_in_an_attribute(s: fait.System, telemetry: Recorded) -> None:
    for to in ("secret-ada", "secret-handler", "secret-reply"):
        await s.transact(Account.pay, "1", to)
    with pytest.raises(fait.Rejected):
        await s.transact(Account.pay, "1", "secret-stranger")
    await s.settle()
    await asyncio.sleep(0)

    assert "secret" not in repr((telemetry.metrics, telemetry.spans))


@pytest.mark.parametrize("wrong", [1, "otel", object(), fait.App("a")])
async def test_telemetry_without_its_methods_is_refused(wrong: Any) -> None:
    with pytest.raises(fait.UsageError, match="telemetry= must be a Telemetry"):
        async with fait.App("a").open("memory:", telemetry=wrong):
            pass
