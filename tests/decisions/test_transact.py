"""Decisions: commands, conflicts, idempotency keys, unknown outcomes and past states."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest

import fait
from fait._decisions.boundary import read_matching_events
from fait._decisions.client import Client
from fait._decisions.load import Loader
from fait._errors import StoreUnavailable
from fait._events.append import AppendCondition, AppendResult, StreamWrite
from fait._store.open import backend_names
from fait._system import System

T0 = datetime(2024, 1, 1, tzinfo=UTC)


@fait.event("account.deposited")
class Deposited:
    amount: Decimal


@fait.event("account.withdrawn")
class Withdrawn:
    amount: Decimal


class Account(fait.Aggregate, category="account"):
    balance: Decimal = Decimal(0)

    def deposit(self, amount: Decimal) -> Decimal:
        self.emit(Deposited(amount))
        return self.balance

    def withdraw(self, amount: Decimal, *, reason: str = "none") -> None:
        if amount > self.balance:
            raise fait.Rejected("not enough money")
        self.emit(Withdrawn(amount))

    def twice(self) -> tuple[datetime, datetime]:
        first, second = fait.now(), fait.now()
        return first, second

    async def wait(self) -> None: ...

    def evolve(self, event: Deposited | Withdrawn) -> None:
        match event:
            case Deposited():
                self.balance += event.amount
            case Withdrawn():
                self.balance -= event.amount


@pytest.fixture
def clock() -> fait.ManualClock:
    return fait.ManualClock(T0)


@fait.event("account.noted")
class Noted:
    text: str


@pytest.fixture(params=sorted(backend_names()))
async def s(
    request: pytest.FixtureRequest, store_url: Callable[[str], str], clock: fait.ManualClock
) -> AsyncIterator[System]:
    bank = fait.App("bank")
    bank.include(Account, Noted)
    async with bank.open(store_url(request.param), clock=clock) as system:
        yield system


async def test_transact_returns_value_stream_version_and_position(s: System) -> None:
    result = await s.transact(Account.deposit, "1", Decimal(5))

    assert result == fait.WriteResult(Decimal(5), "account-1", 1, 1, events=1)


async def test_a_rejected_command_writes_nothing(s: System) -> None:
    with pytest.raises(fait.Rejected, match="not enough money"):
        await s.transact(Account.withdraw, "1", Decimal(5))

    assert await s.store.log.head() == 0


async def test_command_name_and_arguments_are_recorded_in_the_metadata(s: System) -> None:
    await s.transact(Account.deposit, "1", Decimal(5))
    with fait.caused_by(correlation_id="story", causation_id="request", actor="ada"):
        await s.using(extra={"ip": "::1"}).transact(Account.withdraw, "1", Decimal(2), reason="tea")

    metadata = (await s.read("account-1"))[1].metadata
    assert metadata.command is not None
    assert metadata.command.name == "account.withdraw"
    assert bytes(metadata.command.arguments) == b'{"amount":"2","reason":"tea"}'
    assert (metadata.correlation_id, metadata.causation_id, metadata.actor) == ("story", "request", "ada")
    assert metadata.extra == {"ip": "::1"}


async def test_concurrent_commands_on_one_stream_are_serialized(s: System) -> None:
    results = await asyncio.gather(*(s.transact(Account.deposit, "1", Decimal(1)) for _ in range(64)))

    assert sorted(each.value for each in results) == [Decimal(n) for n in range(1, 65)]
    assert (await s.load(Account, "1")).balance == 64
    assert s.store.log.features.durable is (
        max(each.attempts for each in results) > 1
    )  # the memory store never yields between load and append


async def test_conflict_with_an_expected_version_raises_without_retry(s: System) -> None:
    await s.transact(Account.deposit, "1", Decimal(1))

    with pytest.raises(fait.WrongExpectedVersion) as conflict:
        await s.using(expected=0).transact(Account.deposit, "1", Decimal(1))

    assert (conflict.value.stream, conflict.value.expected, conflict.value.actual) == ("account-1", 0, 1)
    assert (await s.using(expected=1).transact(Account.deposit, "1", Decimal(1))).version == 2


async def test_stream_is_loaded_once_for_each_attempt(s: System) -> None:
    class ContestedLog(FlakyLog):
        """A log on which another command is stored before each of the first two appends."""

        async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
            self.appends += 1
            if self.appends <= 2:
                await s.transact(Account.deposit, "1", Decimal(1))
            return await self._log.append(writes, condition)

    log, loads = ContestedLog(s, written=True), list[str]()
    history = log.history

    async def counting(stream: str, **bounds: Any) -> Any:
        loads.append(stream)
        return await history(stream, **bounds)

    log.history = counting  # type: ignore[method-assign]
    result = await client_on(log, s).transact(Account.deposit, "1", Decimal(5))

    assert (result.value, result.attempts, log.appends, len(loads)) == (Decimal(7), 3, 3, 3)


async def test_repeated_key_returns_the_stored_result(s: System, clock: fait.ManualClock) -> None:
    first = await s.using(key="k").transact(Account.deposit, "1", Decimal(5))
    await s.transact(Account.deposit, "1", Decimal(70))
    clock.advance(days=1)
    again = await s.using(key="k").transact(Account.deposit, "1", Decimal(5))

    assert again == fait.WriteResult(first.value, "account-1", first.version, first.position, repeated=True, events=1)
    assert (await s.load(Account, "1")).balance == 75


async def test_key_of_another_command_raises_key_reused(s: System) -> None:
    await s.using(key="k").transact(Account.deposit, "1", Decimal(5))

    with pytest.raises(fait.KeyReused, match="with other arguments"):
        await s.using(key="k").transact(Account.deposit, "1", Decimal(6))
    with pytest.raises(fait.KeyReused, match=r"account\.deposit"):
        await s.using(key="k").transact(Account.withdraw, "1", Decimal(5))
    with pytest.raises(fait.KeyReused, match="stream 'account-1'"):
        await s.using(key="k").transact(Account.deposit, "2", Decimal(5))
    await s.using(key="k", scope="of another caller").transact(Account.deposit, "2", Decimal(5))


async def test_concurrent_calls_with_one_key_store_one_decision(s: System) -> None:
    await s.transact(Account.deposit, "1", Decimal(5))

    for number in range(20):
        call = s.using(key=f"k{number}")
        results = await asyncio.gather(*(call.transact(Account.withdraw, "1", Decimal(5)) for _ in range(4)))
        assert sorted(each.repeated for each in results) == [False, True, True, True]
        assert len({(each.version, each.position) for each in results}) == 1
        await s.transact(Account.deposit, "1", Decimal(5))


async def test_concurrent_commands_with_one_key_raise_key_reused_for_one(s: System) -> None:
    for number in range(20):
        call = s.using(key=f"k{number}")
        results = await asyncio.gather(
            call.transact(Account.deposit, "1", Decimal(1)),
            call.transact(Account.deposit, "1", Decimal(2)),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in results) == ["KeyReused", "WriteResult"]


async def test_command_can_read_id_and_version(s: System) -> None:
    class Introspective(fait.Aggregate, category="account"):
        def identify(self) -> tuple[str, int]:
            return self.id, self.version

        def evolve(self, event: Deposited | Withdrawn) -> None: ...

    await s.transact(Account.deposit, "1", Decimal(5))

    assert (await s.transact(Introspective.identify, "1")).value == ("1", 1)


async def test_invalid_options_and_arguments_are_refused(s: System) -> None:
    with pytest.raises(fait.UsageError, match="attempts= must be an integer from 1 "):
        s.using(attempts=0)
    with pytest.raises(fait.UsageError, match=r"NewEvents\(\.\.\., expected"):
        await s.using(expected=1).append(fait.NewEvents("account-1", [Deposited(Decimal(1))]))
    for tags in ("ab", ["ab", ""]):
        with pytest.raises(fait.FaitError):
            await s.append(fait.NewEvents("account-1", [Deposited(Decimal(1))], tags=tags))
    with pytest.raises(fait.UsageError, match="not one string"):
        fait.Query(tags="ab")  # type: ignore[arg-type]


async def test_publish_with_a_repeated_key_writes_once(s: System) -> None:
    for expected in (False, True):
        result = await s.using(key="k").publish(Deposited(Decimal(1)), stream="account-1")
        assert result.repeated is expected

    assert (await s.load(Account, "1")).version == 1


async def test_now_is_constant_during_a_decision(s: System, clock: fait.ManualClock) -> None:
    clock.advance(hours=1)

    assert (await s.transact(Account.twice, "1")).value == (clock.moment, clock.moment)


async def test_command_without_events_returns_the_loaded_version_and_position(s: System) -> None:
    await s.transact(Account.deposit, "1", Decimal(1))

    result = await s.transact(Account.twice, "1")

    assert (result.version, result.position) == (1, 1)


async def test_an_async_command_is_refused(s: System) -> None:
    with pytest.raises(fait.UsageError, match="a command must be a plain function"):
        await s.transact(Account.wait, "1")


async def test_function_that_is_not_a_command_is_refused(s: System) -> None:
    account = fait.fold(Account, [])

    with pytest.raises(fait.UsageError, match="accessed through its class"):
        await s.transact(account.deposit, "1", Decimal(1))  # type: ignore[arg-type]


async def test_wrong_argument_raises_type_error_and_writes_nothing(s: System) -> None:
    with pytest.raises(TypeError, match="amount"):
        await s.transact(Account.deposit, "1")  # type: ignore[call-arg]

    assert await s.store.log.head() == 0


class FlakyLog:
    """A log that loses the response of an append; the append may have been stored."""

    def __init__(self, system: System, *, written: bool) -> None:
        self._log = system.store.log
        self._written = written
        self.history = self._log.history
        self.find = self._log.find
        self.appends = 0
        self.responses = 1
        self.second_outcome = "unknown"

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        self.appends += 1
        if self.appends > 1 and self.responses:
            return await self._log.append(writes, condition)
        if self._written and self.appends == 1:
            await self._log.append(writes, condition)
        if self.appends > 1 and self.second_outcome == "not_written":
            raise StoreUnavailable("the server is away.")
        raise StoreUnavailable("the connection broke.", "unknown")


def client_on(log: Any, system: System) -> Client:
    return Client(log, partial(read_matching_events, log), Loader(log, system._loader.codec), fait.SystemClock())


@pytest.mark.parametrize("written", [True, False])
async def test_decision_with_unknown_outcome_is_retried_with_the_same_ids(s: System, written: bool) -> None:
    result = await client_on(FlakyLog(s, written=written), s).transact(Account.deposit, "1", Decimal(5))

    assert (result.version, result.repeated, await s.store.log.head()) == (1, False, 1)


@pytest.mark.parametrize("second_outcome", ["unknown", "not_written"])
@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.transact(Account.deposit, "1", Decimal(5)),
        lambda client: client.publish(Deposited(Decimal(5)), stream="account-1"),
        lambda client: client.append(fait.NewEvents("account-1", [Deposited(Decimal(5))])),
    ],
    ids=["transact", "publish", "append"],
)
async def test_outcome_that_was_unknown_once_stays_unknown(
    s: System, call: Callable[[Client], Any], written: bool, second_outcome: str
) -> None:
    log = FlakyLog(s, written=written)
    log.responses, log.second_outcome = 0, second_outcome

    with pytest.raises(fait.StoreUnavailable, match="It may or may not have been written") as error:
        await call(client_on(log, s))

    assert error.value.outcome == "unknown"
    assert await s.store.log.head() == int(written)


@pytest.mark.parametrize("written", [True, False])
async def test_publish_with_unknown_outcome_is_retried_with_the_same_id(s: System, written: bool) -> None:
    result = await client_on(FlakyLog(s, written=written), s).publish(Deposited(Decimal(5)), stream="account-1")

    assert (result.version, result.repeated, await s.store.log.head()) == (1, False, 1)


@pytest.mark.parametrize("written", [True, False])
async def test_lost_response_with_a_key_or_id_is_reported_as_repeated(s: System, written: bool) -> None:
    deposit = Deposited(Decimal(5))
    clients = [client_on(FlakyLog(s, written=written), s) for _ in range(3)]
    results = [
        await clients[0].publish(deposit, stream="account-1", id=str(UUID(int=7))),
        await clients[1].using(key="k").publish(deposit, stream="account-1"),
        await clients[2].using(key="l").transact(Account.deposit, "2", Decimal(5)),
    ]

    assert [(each.version, each.repeated) for each in results] == [(1, written), (2, written), (1, written)]


async def test_load_with_version_position_or_at_returns_a_past_state(s: System, clock: fait.ManualClock) -> None:
    for amount in (1, 2, 4):
        await s.transact(Account.deposit, "1", Decimal(amount))
        await s.transact(Account.deposit, "2", Decimal(10))
        clock.advance(days=1)

    async def balance(**past: Any) -> Decimal:
        return (await s.load(Account, "1", **past)).balance

    assert [await balance(version=version) for version in (0, 1, 2, 3)] == [0, 1, 3, 7]
    assert [await balance(position=position) for position in (1, 2, 3, 4)] == [1, 1, 3, 3]
    assert [await balance(at=T0 + timedelta(days=day)) for day in (-1, 0, 1, 9)] == [0, 1, 3, 7]
    assert (await s.load(Account, "1", version=2)).version == 2
    with pytest.raises(fait.UsageError, match=r"a datetime with a time zone.*not one without"):
        await balance(at=datetime(2024, 1, 1))
    with pytest.raises(fait.UsageError, match=r"a datetime with a time zone.*not str"):
        await balance(at="2024-01-01")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Deposited, r"expected an event, got the class Deposited: pass an instance, Deposited\(...\)\."),
        ({"amount": 1}, "expected an event, got dict: pass an instance of a class declared with @fait.event"),
        (Account(), "test_transact.Account is not an event: declare it with @fait.event"),
    ],
)
async def test_publish_of_what_is_no_event_says_what_to_pass(s: System, value: object, message: str) -> None:
    with pytest.raises(fait.UsageError, match=rf"{message}.*Nothing was written\."):
        await s.publish(value, stream="account-1")


async def test_unknown_expected_version_is_rejected(s: System) -> None:
    with pytest.raises(fait.UsageError, match=r"not 'nostream'\. Nothing was written\."):
        await s.using(expected="nostream").publish(Deposited(Decimal(1)), stream="account-1")  # type: ignore[arg-type]


async def test_load_with_as_of_folds_in_order_of_versions(s: System) -> None:
    day = timedelta(days=1)
    for amount, occurred_at in ((1, T0 + 2 * day), (2, T0), (4, T0 + day)):
        await s.publish(Deposited(Decimal(amount)), stream="account-1", occurred_at=occurred_at)

    balances = [(await s.load(Account, "1", as_of=T0 + n * day)).balance for n in (-1, 0, 1, 2)]

    assert balances == [0, 2, 6, 7]


async def test_undeclared_event_raises_and_unhandled_event_is_skipped(s: System) -> None:
    await s.transact(Account.deposit, "1", Decimal(1))
    await s.publish(Noted("hello"), stream="account-1")
    assert (await s.load(Account, "1")).balance == 1

    await s.publish(fait.Untyped("account.closed", {}), stream="account-1")
    with pytest.raises(fait.UnknownEventType, match=r"account\.closed"):
        await s.load(Account, "1")


async def test_append_to_several_streams_is_atomic(s: System) -> None:
    with pytest.raises(fait.WrongExpectedVersion):
        await s.append(
            fait.NewEvents("account-1", [Deposited(Decimal(1))]),
            fait.NewEvents("account-2", [Deposited(Decimal(1))], expected=5),
        )

    assert await s.store.log.head() == 0
    result = await s.append(fait.NewEvents("account-1", [Deposited(Decimal(1))] * 3, tags=["owner:ada"]))
    assert (result.version, result.position) == (3, 3)
    assert (await s.read("account-1"))[2].tags == ("owner:ada",)


async def test_decider_decides_and_loads_like_an_aggregate(s: System) -> None:
    def decide(command: str, state: int) -> list[Deposited]:
        if state >= 2:
            raise fait.Rejected("full")
        return [Deposited(Decimal(len(command)))]

    def evolve(state: int, event: Deposited) -> int:
        return state + 1

    jar = fait.Decider(category="jar", initial=int, decide=decide, evolve=evolve)

    assert (await s.decide(jar, "1", "abc")).value == [Deposited(Decimal(3))]
    await s.decide(jar, "1", "ab")
    with pytest.raises(fait.Rejected):
        await s.decide(jar, "1", "a")
    assert await s.load(jar, "1") == 2
    assert await s.load(jar, "1", version=1) == 1
    assert jar.fold([Deposited(Decimal(1))]) == 1
