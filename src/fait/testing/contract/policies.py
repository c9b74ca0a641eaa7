"""Contract of failure policies on every store: what follows an event that a read model or a relay cannot handle."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace

from fait._app import App
from fait._broker_errors import MessageRefused
from fait._clock import new_id
from fait._decisions.client import NewEvents
from fait._events.envelope import EncodedEvent, Envelope
from fait._events.event import event
from fait._store.ports.failures import FailureRequest
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.read_model import ReadModel
from fait._system import System
from fait.broker import ConsumedBatch, ConsumerSpec, Topology, open_broker
from fait.testing.contract.processors import ProcessorContract
from fait.testing.contract.store import added, soon, write

__all__ = ["PolicyContract", "eventually"]

THRICE: Final = FailurePolicy(initial_s=0.005, max_s=0.01, attempts=3)
TOPIC: Final = "moves"
ERROR_TEXT: Final = "the text of an error"
TOO_LARGE: Final = "x" * (1024 * 1024 - 100)
"""The name of an account with which an event is small enough for a log, and its message too large for the broker."""
SETTLE_S: Final = 30.0
"""Timeout for all events to be handled, in seconds."""

Then = Literal["park", "stop", "skip"]


@event("contract.moved")
class Moved:
    """Money was moved between accounts."""

    amount: int
    accounts: list[str]


class ServiceDown(Exception):
    """A service that the code of the app uses is unavailable."""


class Faults:
    """What fails: a number of times, at an amount of an account; the account "" stands for the key of the event.

    An outage ends after three attempts.
    """

    def __init__(self, times: float = float("inf")) -> None:
        self.times = times
        self.at: set[tuple[str, int]] = set()
        self.outages: set[tuple[str, int]] = set()
        self.attempts: Counter[tuple[str, int]] = Counter()

    def check(self, account: str, amount: int) -> None:
        """Raise the error if it is its turn."""
        if (account, amount) in self.at:
            self.attempts[account, amount] += 1
            if (account, amount) in self.outages and self.attempts[account, amount] <= 3:
                raise ServiceDown
            if (account, amount) not in self.outages and self.attempts[account, amount] <= self.times:
                raise ValueError(ERROR_TEXT)


class PolicyContract(ProcessorContract):
    """The contract of the failure policies of read models and relays."""

    # Read models

    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    async def test_failing_fold_is_repeated_as_often_as_its_policy_says(self, url: str, keyed_by_stream: bool) -> None:
        faults = Faults(times=2)
        app, model = _statements(faults, THRICE, keyed_by_stream=keyed_by_stream)
        move = _move if keyed_by_stream else _move_between
        async with app.open(url) as s:
            faults.at = {("a", 2)}
            await move(s, 1, 2, 3)
            await s.settle(timeout_s=SETTLE_S)

            assert await _amounts(s, model) == {"a": "1 2 3", "b": "1 2 3"}

    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    async def test_row_whose_fold_fails_each_time_is_parked(self, url: str, keyed_by_stream: bool) -> None:
        faults = Faults()
        app, model = _statements(faults, replace(THRICE, messages="hide"), keyed_by_stream=keyed_by_stream)
        move = _move if keyed_by_stream else _move_between
        async with app.open(url) as s:
            faults.at = {("a", 2)}
            await move(s, 1, 2, 3)
            await eventually(lambda: _is_parked(s))
            [failure] = await s.store.failures.failures()

            assert (failure.attempts, failure.key) == (3, "move-a" if keyed_by_stream else '"a"')
            assert ERROR_TEXT not in f"{failure}"
            assert await _amounts(s, model) == {"a": "1", "b": "1 2 3"}

    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    @pytest.mark.parametrize("attempts", [1, 3])
    async def test_row_lacks_the_events_that_its_policy_skips_until_a_rebuild(
        self, url: str, keyed_by_stream: bool, attempts: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        faults = Faults()
        policy = replace(THRICE, attempts=attempts, then="skip")
        app, model = _statements(faults, policy, keyed_by_stream=keyed_by_stream)
        move = _move if keyed_by_stream else _move_between
        async with app.open(url) as s:
            faults.at = {("a", 1), ("a", 3), ("b", 4)}
            await move(s, 1, 2, 3, 4, 5)
            await s.settle(timeout_s=SETTLE_S)
            skipped = await _amounts(s, model)
            await s.rebuild(model)
            await s.settle(timeout_s=SETTLE_S)
            rebuilt = await _amounts(s, model)
            faults.at = set()
            await s.rebuild(model)
            await s.settle(timeout_s=SETTLE_S)

            assert skipped == rebuilt == {"a": "2 4 5", "b": "1 2 3 5"}
            assert await _amounts(s, model) == {"a": "1 2 3 4 5", "b": "1 2 3 4 5"}
            assert await s.store.failures.failures() == []
        assert _skips(caplog) == [attempts] * 6

    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    async def test_read_model_is_paused_if_its_policy_says_so(self, url: str, keyed_by_stream: bool) -> None:
        faults = Faults()
        policy = replace(THRICE, attempts=2, then="stop")
        app, model = _statements(faults, policy, keyed_by_stream=keyed_by_stream)
        move = _move if keyed_by_stream else _move_between
        async with app.open(url) as s:
            faults.at = {("a", 2)}
            await move(s, 1, 2, 3)
            await eventually(lambda: _is_paused(s))
            [failure] = await s.store.failures.failures()
            faults.at = set()
            await _resume(s)
            await s.settle(timeout_s=SETTLE_S)

            assert failure.attempts == 2
            assert await _amounts(s, model) == {"a": "1 2 3", "b": "1 2 3"}

    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    async def test_outage_that_the_policy_of_a_read_model_names_is_no_failure(
        self, url: str, keyed_by_stream: bool
    ) -> None:
        faults = Faults()
        policy = FailurePolicy(attempts=1, then="skip", outages=(ServiceDown,))
        app, model = _statements(faults, policy, keyed_by_stream=keyed_by_stream)
        move = _move if keyed_by_stream else _move_between
        async with app.open(url) as s:
            faults.at = faults.outages = {("b", 2)}
            await move(s, 1, 2, 3)
            await s.settle(timeout_s=SETTLE_S)

            assert await _amounts(s, model) == {"a": "1 2 3", "b": "1 2 3"}

    async def test_outage_at_one_row_of_an_event_fails_no_other_row(self, url: str) -> None:
        faults = Faults()
        policy = FailurePolicy(attempts=1, then="skip", outages=(ServiceDown,))
        app, model = _statements(faults, policy, keyed_by_stream=False)
        async with app.open(url) as s:
            faults.at, faults.outages = {("a", 2), ("b", 2)}, {("b", 2)}
            await _move_between(s, 1, 2, 3)
            await s.settle(timeout_s=SETTLE_S)

            assert await _amounts(s, model) == {"a": "1 3", "b": "1 2 3"}

    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    async def test_event_that_is_too_new_is_skipped_if_the_policy_says_so(
        self, url: str, keyed_by_stream: bool
    ) -> None:
        app, model = _statements(Faults(), FailurePolicy(too_new="skip"), keyed_by_stream=keyed_by_stream)
        move = _move if keyed_by_stream else _move_between
        async with app.open(url) as s:
            await move(s, 1)
            await added(s.store.log, write("move-a", [_newer()]))
            await move(s, 2)
            await s.settle(timeout_s=SETTLE_S)

            assert await _amounts(s, model) == {"a": "1 2", "b": "1 2"}

    @pytest.mark.parametrize("attempts", [1, 3])
    async def test_event_whose_rows_cannot_be_found_is_skipped_for_all(
        self, url: str, attempts: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        faults = Faults()
        app, model = _statements(faults, replace(THRICE, attempts=attempts, then="skip"), keyed_by_stream=False)
        async with app.open(url) as s:
            faults.at = {("", 2)}
            await _move_between(s, 1, 2, 3)
            await s.settle(timeout_s=SETTLE_S)

            assert await _amounts(s, model) == {"a": "1 3", "b": "1 3"}
            assert await s.store.failures.failures() == []
        assert set(_skips(caplog)) == {attempts}

    async def test_event_whose_rows_cannot_be_found_parks_none(self, url: str) -> None:
        faults = Faults(times=20)
        app, model = _statements(faults, replace(THRICE, attempts=1), keyed_by_stream=False)
        async with app.open(url) as s:
            faults.at = {("", 2)}
            await _move_between(s, 1, 2, 3)
            await s.settle(timeout_s=SETTLE_S)

            assert await _amounts(s, model) == {"a": "1 2 3", "b": "1 2 3"}

    async def test_redriven_row_waits_at_an_event_whose_rows_cannot_be_found(self, url: str) -> None:
        faults = Faults()
        app, model = _statements(faults, replace(THRICE, attempts=1), keyed_by_stream=False)
        async with app.open(url) as s:
            faults.at = {("a", 1)}
            await _move_between(s, 1, 2, 3)
            await eventually(lambda: _is_parked(s))
            faults.at, faults.times = {("", 2)}, 8
            await s.store.failures.request(FailureRequest("contract_account_moves", ('"a"',), "redriving", by="test"))

            async def is_empty() -> bool:
                return not await s.store.failures.failures()

            await eventually(is_empty)
            assert await _amounts(s, model) == {"a": "1 2 3", "b": "1 2 3"}

    async def test_event_whose_rows_cannot_be_found_pauses_the_read_model(self, url: str) -> None:
        faults = Faults()
        app, model = _statements(faults, replace(THRICE, then="stop"), keyed_by_stream=False)
        async with app.open(url) as s:
            faults.at = {("", 2)}
            await _move_between(s, 1, 2, 3)
            await eventually(lambda: _is_paused(s))
            faults.at = set()
            await _resume(s)
            await s.settle(timeout_s=SETTLE_S)

            assert await _amounts(s, model) == {"a": "1 2 3", "b": "1 2 3"}

    # Relays

    @pytest.mark.parametrize("then", ["park", "stop", "skip"])
    async def test_message_that_a_broker_refuses_follows_the_policy_at_once(self, url: str, then: Then) -> None:
        async with _relay(url, Faults(), replace(THRICE, attempts=None if then != "skip" else 9, then=then)) as relay:
            s = relay.system
            await _move(s, 1)
            await s.publish(Moved(2, [TOO_LARGE]), stream="move-a")
            await _move(s, 3)
            await relay.until_ended(then)

            [failure] = await s.store.failures.failures() or [None]
            if failure is not None:
                assert (failure.attempts, failure.error_type.rpartition(".")[2]) == (1, MessageRefused.__name__)
            assert (failure is None) == (then == "skip")
            expected = {"park": [1], "stop": [1], "skip": [1, 3]}[then]
            assert await relay.amounts("a") == expected
            if then != "stop":
                assert await relay.amounts("b") == [1, 3]

    async def test_key_is_published_in_order_while_its_topic_function_fails(self, url: str) -> None:
        faults = Faults(times=2)
        async with _relay(url, faults, THRICE) as relay:
            faults.at = {("a", 2)}
            await _move(relay.system, 1, 2, 3, 4)
            await relay.system.settle(timeout_s=SETTLE_S)

            assert await relay.amounts("a") == await relay.amounts("b") == [1, 2, 3, 4]
        assert faults.attempts == {("a", 2): 3}

    @pytest.mark.parametrize("then", ["park", "stop", "skip"])
    async def test_event_whose_topic_function_fails_each_time_follows_the_policy(self, url: str, then: Then) -> None:
        faults = Faults()
        async with _relay(url, faults, replace(THRICE, then=then)) as relay:
            faults.at = {("a", 2)}
            await _move(relay.system, 1, 2, 3)
            await relay.until_ended(then)

            assert await relay.amounts("a") == {"park": [1], "stop": [1], "skip": [1, 3]}[then]
            if then != "stop":
                assert await relay.amounts("b") == [1, 2, 3]
            failures = await relay.system.store.failures.failures()
            assert [each.attempts for each in failures] == ([] if then == "skip" else [3])
        assert faults.attempts == {("a", 2): 3}

    @pytest.mark.parametrize("then", ["park", "stop", "skip"])
    async def test_event_whose_key_function_fails_holds_all_keys_until_the_policy_ends_that(
        self, url: str, then: Then
    ) -> None:
        faults = Faults(times=40 if then == "park" else float("inf"))
        async with _relay(url, faults, replace(THRICE, then=then), has_key=True) as relay:
            faults.at = {("", 2)}
            await _move(relay.system, 1)
            await relay.system.publish(Moved(2, ["a"]), stream="move-a")
            await _move(relay.system, 3)
            if then == "stop":
                await eventually(lambda: _is_paused(relay.system))
                faults.at = set()
                await _resume(relay.system)
            await relay.system.settle(timeout_s=SETTLE_S)

            assert await relay.amounts("a") == ([1, 3] if then == "skip" else [1, 2, 3])
            assert await relay.amounts("b") == [1, 3]
            assert await relay.system.store.failures.failures() == []

    @pytest.mark.parametrize("account", ["a", ""])
    async def test_outage_that_the_policy_of_a_relay_names_is_no_failure(self, url: str, account: str) -> None:
        faults = Faults()
        policy = FailurePolicy(attempts=1, then="skip", outages=(ServiceDown,))
        async with _relay(url, faults, policy, has_key=True) as relay:
            faults.at = faults.outages = {(account, 2)}
            await _move(relay.system, 1, 2, 3)
            await relay.system.settle(timeout_s=SETTLE_S)

            assert await relay.amounts("a") == await relay.amounts("b") == [1, 2, 3]

    async def test_refused_message_is_no_outage_whatever_the_policy_names(self, url: str) -> None:
        async with _relay(url, Faults(), FailurePolicy(outages=(Exception,))) as relay:
            await relay.system.publish(Moved(1, [TOO_LARGE]), stream="move-a")
            await _move(relay.system, 2)
            await relay.until_ended("park")

            assert await relay.amounts("b") == [2]

    async def test_relay_passes_what_is_too_new_if_its_policy_says_so(self, url: str) -> None:
        async with _relay(url, Faults(), FailurePolicy(too_new="skip"), has_key=True) as relay:
            await _move(relay.system, 1)
            await added(relay.system.store.log, write("move-a", [_newer()]))
            await _move(relay.system, 2)
            await relay.system.settle(timeout_s=SETTLE_S)

            assert await relay.amounts("a") == await relay.amounts("b") == [1, 2]


class _PublishingRelay:
    """A relay that publishes what is moved, with its system and its broker."""

    def __init__(self, system: System, url: str) -> None:
        self.system = system
        self._url = url

    async def until_ended(self, then: Then) -> None:
        """Wait until all events are published that can be."""
        if then == "skip":
            await self.system.settle(timeout_s=SETTLE_S)
        else:
            await eventually(lambda: _is_paused(self.system) if then == "stop" else _is_parked(self.system))

    async def amounts(self, account: str) -> list[int]:
        """Return the amounts that were published of an account, in order."""
        broker, amounts = await open_broker(self._url), list[int]()
        spec = ConsumerSpec(name="contract", lanes=await broker.lanes(TOPIC), start="beginning")
        consumer = await broker.consumer(spec, {})
        while isinstance(batch := await consumer.receive(0), ConsumedBatch) and batch.messages:
            messages = (each for each in batch.messages if each.headers["ce-partitionkey"].endswith(account))
            amounts += [msgspec.json.decode(each.body)["amount"] for each in messages]
        await consumer.close()
        await broker.close()
        return amounts


@asynccontextmanager
async def _relay(
    url: str, faults: Faults, policy: FailurePolicy, *, has_key: bool = False
) -> AsyncGenerator[_PublishingRelay, None]:
    """Run an app with a relay to a broker in memory, which refuses messages of more than 1 MiB."""

    def topic(event: Moved) -> str:
        faults.check(event.accounts[0], event.amount)
        return TOPIC

    def key(event: Moved) -> str:
        faults.check("", event.amount)
        return f"own-{event.accounts[0]}"

    to = f"memory:{uuid4().hex}"
    broker = await open_broker(to)
    await broker.check(Topology({TOPIC: 2}), create=True)
    await broker.close()
    app = App("contract")
    app.relay(
        Moved, to=to, topic=topic, key=key if has_key else None, name="relay-moves", start="beginning",
        on_failure=policy,
    )  # fmt: skip
    async with app.open(url) as system:
        yield _PublishingRelay(system, to)


def _statements(faults: Faults, policy: FailurePolicy, *, keyed_by_stream: bool) -> tuple[App, Any]:
    """Return an app with a read model: a row for each account with its amounts, in order."""

    class AccountMoves(ReadModel, key="account", table="contract_account_moves", on_failure=policy):
        account: str
        amounts: str = ""

        if not keyed_by_stream:

            @classmethod
            def key_of(cls, event: Moved, at: Envelope[Any]) -> list[str]:
                faults.check("", event.amount)
                return event.accounts

        @classmethod
        def evolve(cls, row: "AccountMoves | None", event: Moved, at: Envelope[Any]) -> "AccountMoves | None":
            row = row or cls(account=event.accounts[0])
            if event.amount:
                faults.check(row.account, event.amount)
                row.amounts += f"{event.amount} "
            return row

    app = App("contract")
    app.include(Moved, AccountMoves)
    return app, AccountMoves


async def _move(s: System, *amounts: int) -> None:
    """Record the amounts in the stream of each account."""
    for amount in amounts:
        await s.append(*(NewEvents(f"move-{each}", [Moved(amount, [each])]) for each in "ab"))


async def _move_between(s: System, *amounts: int) -> None:
    """Record events of both accounts, whose rows exist before."""
    await s.append(NewEvents("moves", [Moved(0, ["a"]), Moved(0, ["b"])]))
    for amount in amounts:
        await s.publish(Moved(amount, ["a", "b"]), stream="moves")


def _skips(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Return the number of the last attempt at each event that was skipped."""
    records = [each.args for each in caplog.records if each.message.startswith("event failed, skipped")]
    return [args[6] for args in records if isinstance(args, tuple)]


def _newer() -> EncodedEvent:
    """Return an event of a schema version that only newer code knows."""
    return EncodedEvent("contract.moved", 9, new_id(), '{"amount":2,"accounts":["a"]}', "{}", (), None)


async def _amounts(s: System, model: Any) -> dict[str, str]:
    return {row.account: row.amounts.strip() for row in await s.find(model)}


async def _resume(s: System) -> None:
    [status] = await s.status()
    assert await s.store.registrations.resume(status.name, by="test", reason="")

    async def is_resumed() -> bool:
        return not await _is_paused(s)

    await eventually(is_resumed)


async def _is_paused(s: System) -> bool:
    return [each.state for each in await s.status()] == ["paused"]


async def _is_parked(s: System) -> bool:
    """Whether a key is parked, and all events of others are passed."""
    states, last = [each.state for each in await s.store.failures.failures()], await s.store.log.last_position()
    return states == ["parked"] and (await s.status())[0].position == last


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until an awaitable condition is true."""
    async with soon():
        while not await condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
