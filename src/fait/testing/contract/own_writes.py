"""Contract of reads after a write whose events are not folded, because their key has failed."""
# ruff: noqa: D102 - a test is documented by its name

from typing import Any, Literal

import pytest

from fait._app import App
from fait._decisions.calls import WriteResult
from fait._decisions.client import NewEvents
from fait._errors import Stale
from fait._events.envelope import Envelope
from fait._events.event import event
from fait._store.ports.failures import FailureRequest, FailureState
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.find import ge, ne, one_of
from fait._subscriptions.read_model import ReadModel
from fait._system import System
from fait.testing.contract.policies import PolicyContract, eventually

__all__ = ["OwnWriteContract"]

PARKED = FailurePolicy(attempts=1)
RETRYING = FailurePolicy(attempts=None, initial_s=600, max_s=600)


@event("contract.booked")
class Booked:
    """An amount was booked; a negative one cannot be folded."""

    account: str
    amount: int


class OwnWriteContract(PolicyContract):
    """The contract of `find`, `get` and `wait` after a write of a key that has failed."""

    @pytest.mark.parametrize("account", ["new", "old"])
    @pytest.mark.parametrize("policy", [PARKED, RETRYING], ids=["parked", "retrying"])
    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    async def test_read_after_write_of_a_failed_key_is_stale_whatever_its_rows_are(
        self, url: str, keyed_by_stream: bool, policy: FailurePolicy, account: str
    ) -> None:
        app, ledger = _ledger(policy, keyed_by_stream=keyed_by_stream)
        async with app.open(url) as s:
            await s.wait(await _book(s, old=1, fine=1))
            await _book(s, **{account: -1})
            result = await _book(s, fine=5, **{account: 7}, last=1)
            single = await _book(s, **{account: 7})
            fine = await _balance(s, ledger, "fine", single)
            await _until(s, "parked" if policy is PARKED else "retrying")

            assert fine == 6
            conditions: list[dict[str, Any]] = [
                {}, {"balance": ge(7)}, {"account": one_of(account)}, {"account": account}
            ]  # fmt: skip
            for after in (result, s.token(result), single, single.position, s.token(single)):
                for where in conditions:
                    with pytest.raises(Stale, match=rf"key .*{account}.* is (parked|being retried)"):
                        await s.find(ledger, after=after, timeout_s=0.05, **where)
                assert await _balance(s, ledger, "last", after) == 1
            with pytest.raises(Stale, match=rf"key .*{account}.* is (parked|being retried)"):
                await s.wait(result, ledger, timeout_s=0.05)

    @pytest.mark.parametrize("policy", [PARKED, RETRYING], ids=["parked", "retrying"])
    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    async def test_read_after_write_of_other_keys_than_the_failed_one_returns(
        self, url: str, keyed_by_stream: bool, policy: FailurePolicy
    ) -> None:
        app, ledger = _ledger(policy, keyed_by_stream=keyed_by_stream)
        async with app.open(url) as s:
            before = await _book(s, fine=1, bad=1)
            await _book(s, bad=-1)
            after_failure = await _book(s, fine=5, last=1)
            await _until(s, "parked" if policy is PARKED else "retrying")

            for result in (after_failure, before):
                for after in (result, s.token(result), result.position):
                    rows = await s.find(ledger, account=ne("bad"), after=after)
                    assert {each.account: each.balance for each in rows} == {"fine": 6, "last": 1}
                    await s.wait(after, ledger)

    @pytest.mark.parametrize("policy", [PARKED, RETRYING], ids=["parked", "retrying"])
    async def test_wait_concerns_the_keys_of_the_write_in_each_subscription(
        self, url: str, policy: FailurePolicy
    ) -> None:
        app, _ = _ledger(RETRYING, keyed_by_stream=True)

        @app.on(Booked, name="contract_book", on_failure=policy)
        async def book(event: Booked) -> None:
            if event.amount < 0:
                raise ValueError("negative")

        async with app.open(url) as s:
            before = await _book(s, bad=1, fine=1)
            failed = await _book(s, fine=2, bad=-1)
            other = await _book(s, fine=3)
            await _until(s, "parked" if policy is PARKED else "retrying", "contract_book")

            for after in (before, other, s.token(before), other.position):
                await s.wait(after)
            for after in (failed, s.token(failed), failed.position, None):
                with pytest.raises(Stale, match=r"key .*bad.* is (parked|being retried)"):
                    await s.wait(after, timeout_s=0.05)

    @pytest.mark.parametrize("state", ["redriving", "discarding"])
    @pytest.mark.parametrize("keyed_by_stream", [True, False])
    async def test_read_after_write_of_a_failed_key_is_stale_until_a_request_is_done(
        self, url: str, keyed_by_stream: bool, state: Literal["redriving", "discarding"]
    ) -> None:
        app, ledger = _ledger(PARKED, keyed_by_stream=keyed_by_stream)
        async with app.open(url) as s:
            if not s.store.log.features.durable:
                pytest.skip("this store lacks: durable")
            await _book(s, new=-1)
            result = await _book(s, new=7, last=1)
            assert await _balance(s, ledger, "last", result) == 1
            key = await _until(s, "parked")
        async with app.open(url, run="elsewhere") as s:
            await s.store.failures.request(
                FailureRequest("contract_ledger", (key,), state, "ada", discard_until=result.position)
            )
            for after in (result, s.token(result)):
                with pytest.raises(Stale, match=r"key .*new.* is being retried"):
                    await s.find(ledger, balance=ge(7), after=after, timeout_s=0.05)


def _ledger(policy: FailurePolicy, *, keyed_by_stream: bool) -> tuple[App, Any]:
    """Return an app with a read model: a row for each account with its balance."""

    class Ledger(ReadModel, key="account", table="contract_ledger", on_failure=policy):
        account: str
        balance: int = 0

        if not keyed_by_stream:

            @classmethod
            def key_of(cls, event: Booked, at: Envelope[Any]) -> str:
                return event.account

        @classmethod
        def evolve(cls, row: "Ledger | None", event: Booked, at: Envelope[Any]) -> "Ledger | None":
            if event.amount < 0:
                raise ValueError("negative")
            row = row or cls(account=event.account)
            row.balance += event.amount
            return row

    app = App("contract")
    app.include(Booked, Ledger)
    return app, Ledger


async def _book(s: System, **amounts: int) -> WriteResult[None]:
    """Book an amount for each account, in one append, with a stream for each account."""
    return await s.append(*(NewEvents(f"ledger-{each}", [Booked(each, amount)]) for each, amount in amounts.items()))


async def _balance(s: System, ledger: Any, account: str, after: Any) -> int:
    row = await s.get(ledger, account, after=after)
    assert row is not None
    return row.balance


async def _until(s: System, state: FailureState, subscription: str = "contract_ledger") -> str:
    """Wait until the only key of a subscription that has failed is in a state; return the key."""

    async def is_in_state() -> bool:
        return [each.state for each in await s.store.failures.failures(subscription)] == [state]

    await eventually(is_in_state)
    [failure] = await s.store.failures.failures(subscription)
    return failure.key
