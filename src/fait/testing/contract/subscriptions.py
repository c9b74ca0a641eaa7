"""Contract of subscriptions on every store: read models, reactors and processors, run by `fait.App`."""
# ruff: noqa: D102, S311 - a test is documented by its name; random numbers are seeded, not secret

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Literal

import pytest

from fait._app import App, declarations_of
from fait._decisions.client import NewEvents
from fait._errors import Stale
from fait._events.envelope import Envelope
from fait._events.event import event
from fait._store.ports.registrations import RangeKey
from fait._store.ports.tables import Row
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.reactor import Context
from fait._subscriptions.read_model import ReadModel, definition_of
from fait._system import System
from fait.testing.contract.own_writes import OwnWriteContract
from fait.testing.contract.policies import eventually
from fait.testing.contract.processors import until
from fait.testing.contract.store import Opener, everything
from fait.testing.contract.turns import turns

__all__ = ["SubscriptionContract"]

SHORT_RETRY = FailurePolicy(initial_s=0.005, max_s=0.01)


@event("contract.paid-in")
class PaidIn:
    """Money was paid in."""

    amount: int


@event("contract.paid-out")
class PaidOut:
    """Money was paid out."""

    amount: int


@event("contract.closed")
class Closed:
    """The account was closed."""


@event("contract.noted")
class Noted:
    """An event that no read model handles."""

    text: str = ""


class Account(ReadModel, key="account_id", table="contract_accounts"):
    """One row per stream; the fold depends on the order of events."""

    account_id: str
    balance: int
    history: str
    version: int

    @classmethod
    def evolve(cls, row: "Account | None", event: PaidIn | PaidOut | Closed, at: Envelope[Any]) -> "Account | None":
        """Add up the payments; delete the row of a closed account."""
        if isinstance(event, Closed):
            return None
        balance, history = (row.balance, row.history) if row else (0, "")
        amount = event.amount if isinstance(event, PaidIn) else -event.amount
        return cls(
            account_id=at.stream_id, balance=balance + amount, history=f"{history}{amount:+}", version=at.version
        )


class SubscriptionContract(OwnWriteContract):
    """The contract of projections, reactors, processors, failure policies and reads after a write."""

    # Read models

    async def test_read_model_rows_equal_fold_of_log(self, url: str) -> None:
        rng = random.Random(11)
        async with _app(Account).open(url) as s:
            for _ in range(40):
                await asyncio.gather(*(s.append(*_payments(rng)) for _ in range(3)))
            result = await s.publish(PaidIn(1), stream="account-last")

            rows = await s.find(Account, after=result)

            assert {row.account_id: row for row in rows} == await _folded(s)
            assert len(rows) > 5

    async def test_get_after_write_returns_its_row(self, url: str) -> None:
        async with _app(Account).open(url) as s:
            for n in range(1, 30):
                result = await s.publish(PaidIn(1), stream="account-1")
                row = await s.get(Account, "1", after=result)

                assert row is not None
                assert row.balance == n

    async def test_unhandled_events_advance_checkpoint_of_read_model(self, url: str) -> None:
        async with _app(Account, Noted).open(url) as s:
            await s.publish(PaidIn(1), stream="account-1")
            result = await s.append(*(NewEvents(f"note-{n}", [Noted()] * 50) for n in range(30)))

            assert len(await s.find(Account, after=result)) == 1

            await eventually(lambda: _checkpoint_is(s, "contract_accounts", result.position))

    async def test_checkpoint_of_read_model_is_never_ahead_of_rows(self, url: str) -> None:
        async with _app(Account).open(url) as s:

            async def publish() -> None:
                for _ in range(60):
                    await s.publish(PaidIn(1), stream="account-1")
                    await turns()

            seen, writing = list[tuple[int, int]](), asyncio.create_task(publish())
            while not writing.done():
                checkpoint, row = await s.store.leases.range(RangeKey("contract_accounts")), await s.get(Account, "1")
                seen.append((checkpoint.position if checkpoint else 0, row.version if row else 0))
                await asyncio.sleep(0)
            await writing
            versions = {each.position: each.version for each in await everything(s.store.log)}

        assert all(version >= versions.get(position, 0) for position, version in seen)
        assert len(set(seen)) > 1

    async def test_find_after_write_times_out_with_stale_read_model(self, url: str) -> None:
        async with _app(Account).open(url, run="elsewhere") as s:
            result = await s.publish(PaidIn(1), stream="account-1")

            with pytest.raises(Stale) as error:
                await s.find(Account, after=result, timeout_s=0.05)

        assert (error.value.subscription, error.value.position, error.value.target) == (
            "contract_accounts",
            0,
            result.position,
        )

    async def test_rebuild_without_new_events_restores_rows(self, url: str) -> None:
        async with _app(Account).open(url) as s:
            result = await s.append(*(NewEvents(f"account-{n}", [PaidIn(n)]) for n in range(5)))
            before = await s.find(Account, after=result)
            await until(lambda: s._subscription_runner.groups["contract_accounts"].state == "live")  # pyright: ignore[reportPrivateUsage]

            await s.rebuild(Account)

            await eventually(lambda: _rows_are(s, before))

    async def test_find_after_write_waits_for_rebuild_by_other_process(self, url: str) -> None:
        async with _app(Account).open(url) as s:
            result = await s.append(*(NewEvents(f"account-{n}", [PaidIn(n)]) for n in range(5)))
            all_rows = await s.find(Account, after=result)

            await _reset_by_other_process(s)
            assert await s.find(Account, after=result) == all_rows
            await _reset_by_other_process(s)
            await s.wait(result, Account)
            assert await s.find(Account) == all_rows

    @pytest.mark.parametrize("run", ["here", "elsewhere"])
    async def test_find_during_rebuild_reads_again(self, url: str, run: Literal["here", "elsewhere"]) -> None:
        app = _app(Account)
        async with app.open(url) as owner, app.open(url, run=run) as other:
            s = other if owner.store.log.features.shared else owner
            result = await s.append(*(NewEvents(f"account-{n}", [PaidIn(n)]) for n in range(5)))
            all_rows, select, reads = await s.find(Account, after=result), s.store.tables.select, list[int]()

            async def reset_before_first_read(*args: Any, **kwargs: Any) -> list[Row]:
                if not reads:
                    await _reset_by_other_process(s)
                reads.append(1)
                return await select(*args, **kwargs)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(s.store.tables, "select", reset_before_first_read)
                rows = await s.find(Account, after=result)

        assert rows == all_rows
        assert len(reads) > 1

    # Reactors

    async def test_reactor_handles_events_once_in_log_order(self, url: str) -> None:
        app, seen = _app(), list[Envelope[Any]]()

        @app.on(PaidIn, PaidOut)
        async def react(event: Any, ctx: Context) -> None:
            await asyncio.sleep(0)
            seen.append(ctx.envelope)

        async with app.open(url) as s:
            rng = random.Random(2)
            await asyncio.gather(*(s.append(*_payments(rng)) for _ in range(30)))
            await s.wait(await s.publish(PaidIn(1), stream="account-last"))
            wanted = [e.position for e in await everything(s.store.log) if e.type != "contract.closed"]

        assert [at.position for at in seen] == wanted
        versions = defaultdict[str, list[int]](list)
        for at in seen:
            versions[at.stream].append(at.version)
        assert all(each == sorted(each) for each in versions.values())

    async def test_reactor_retries_failed_event_before_next_event(self, url: str) -> None:
        app, attempts = _app(), list[tuple[int, int]]()

        @app.on(PaidIn, on_failure=SHORT_RETRY)
        async def react(event: PaidIn, ctx: Context) -> None:
            attempts.append((event.amount, ctx.attempt))
            if event.amount == 2 and ctx.attempt < 6:
                raise ConnectionError("the bank does not answer")

        async with app.open(url) as s:
            for amount in (1, 2, 3):
                result = await s.publish(PaidIn(amount), stream="account-1")
            await s.wait(result)

        assert attempts == [(1, 1), *((2, n) for n in range(1, 7)), (3, 1)]

    async def test_failing_reactor_holds_only_the_stream_of_the_event(self, url: str) -> None:
        app, seen = _app(Account), list[int]()

        @app.on(PaidIn, on_failure=SHORT_RETRY)
        def react(event: PaidIn) -> None:
            seen.append(event.amount)
            if event.amount == 2:
                raise ValueError("never")

        async with app.open(url) as s:
            await s.publish(PaidIn(1), stream="account-1")
            failing = await s.publish(PaidIn(2), stream="account-2")
            result = await s.publish(PaidIn(3), stream="account-3")

            assert len(await s.find(Account, after=result)) == 3
            await s.wait(result)
            with pytest.raises(Stale, match=r"'account-2' is (being retried|parked)") as error:
                await s.wait(failing, timeout_s=1)

            assert await _checkpoint_is(s, "react", result.position)
            assert (error.value.subscription, error.value.position) == ("react", failing.position - 1)
        assert [amount for amount in seen if amount != 2] == [1, 3]

    async def test_events_of_retried_handler_are_appended_once(self, url: str) -> None:
        await self._published_once(url, {})

    async def test_events_of_retried_handler_with_options_are_appended_once(self, url: str) -> None:
        await self._published_once(url, {"extra": {"from": "a handler"}})

    async def test_statements_of_retried_handler_run_once(self, url: str) -> None:
        app = _app(Account)

        @app.on(PaidOut, on_failure=SHORT_RETRY)
        async def react(event: PaidOut, ctx: Context) -> None:
            ctx.execute("UPDATE contract_accounts SET version = version + 100")
            if ctx.attempt < 3:
                raise ValueError("not yet")

        async with app.open(url) as s:
            _needs(s, sql=True)
            await s.find(Account, after=await s.publish(PaidIn(1), stream="account-1"))
            await s.publish(PaidOut(1), stream="other-2")
            await s.wait(await s.publish(PaidOut(1), stream="other-2"))

            row = await s.get(Account, "1")

        assert row is not None
        assert row.version == 201

    async def test_new_reactor_starts_at_head_and_new_read_model_at_beginning(self, url: str) -> None:
        first = App("first")
        first.include(PaidIn)
        async with first.open(url) as s:
            _needs(s, durable=True)
            await s.publish(PaidIn(1), stream="account-1")
        app, seen, all_seen = _app(Account), list[int](), list[int]()
        app.on(PaidIn)(_into(seen, "fresh"))
        app.on(PaidIn, start="beginning")(_into(all_seen, "complete"))
        async with app.open(url) as s:
            await s.wait(await s.publish(PaidIn(2), stream="account-1"))
            row = await s.get(Account, "1")

        assert (seen, all_seen, row and row.balance) == ([2], [1, 2], 3)

    async def test_reactor_of_reopened_store_continues_from_checkpoint(self, url: str) -> None:
        app, seen = _app(), list[int]()
        app.on(PaidIn)(_into(seen, "react"))
        for amount in range(4):
            async with app.open(url) as s:
                _needs(s, durable=True)
                await s.wait(await s.publish(PaidIn(amount), stream="account-1"))
            async with app.open(url, run="elsewhere") as s:
                await s.publish(PaidIn(amount + 100), stream="account-1")
        async with app.open(url) as s:
            await s.wait(await s.publish(PaidIn(9), stream="account-1"))

        assert seen == [0, 100, 1, 101, 2, 102, 3, 103, 9]

    # Several processes

    async def test_two_systems_on_one_store_handle_each_event_once(self, url: str) -> None:
        app, calls = _app(Account), Counter[int]()

        @app.on(PaidIn)
        async def react(event: PaidIn, ctx: Context) -> None:
            calls[ctx.envelope.position] += 1
            ctx.execute("UPDATE contract_accounts SET version = version + 100 WHERE account_id = 'counter'")

        async with app.open(url) as one:
            _needs(one, shared=True, sql=True)
            await one.find(Account, after=await one.publish(PaidOut(0), stream="account-counter"))
            async with app.open(url) as two:
                for n in range(20):
                    publishing = (each.publish(PaidIn(1), stream=f"account-{n}") for each in (one, two))
                    await asyncio.gather(*publishing)
                await two.wait(await two.publish(Noted(), stream="note-1"))
            await one.wait(await one.publish(PaidIn(1), stream="account-0"))
            row = await one.get(Account, "counter")
            assert {row.account_id: row.balance for row in await one.find(Account)} == {
                "counter": 0, "0": 3, **{str(n): 2 for n in range(1, 20)}
            }  # fmt: skip

        assert set(calls.values()) == {1}
        assert row is not None
        assert row.version == 1 + 100 * 41

    async def test_app_opens_while_other_process_advances_checkpoint(self, url: str, opener: Opener) -> None:
        app = _app(Account)
        async with app.open(url) as busy:
            _needs(busy, shared=True)
            async with opener() as store:
                second = System(declarations_of(app), store, busy._clock, 5.0)  # pyright: ignore[reportPrivateUsage]
                head = store.log.head

                async def head_before_append() -> int:
                    position = await head()
                    result = await busy.publish(PaidIn(1), stream="account-1")
                    await busy.wait(result)
                    await eventually(lambda: _checkpoint_is(busy, "contract_accounts", result.position))
                    return position

                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(store.log, "head", head_before_append)
                    await second._prepare()  # pyright: ignore[reportPrivateUsage]

    async def _published_once(self, url: str, options: dict[str, Any]) -> None:
        app = _app(Noted)

        @app.on(PaidIn, on_failure=SHORT_RETRY)
        async def react(event: PaidIn, ctx: Context) -> None:
            client = ctx.using(**options) if options else ctx
            await client.publish(Noted("first"), stream="notes")
            await client.append(NewEvents("notes", [Noted("second")]), NewEvents("others", [Noted()]))
            if ctx.attempt < 3:
                raise ValueError("not yet")

        async with app.open(url) as s:
            for _ in range(2):
                await s.wait(await s.publish(PaidIn(1), stream="account-1"))
            streams = {each.stream: each.version for each in await s.store.log.streams()}

        assert streams == {"account-1": 2, "notes": 4, "others": 2}


def _app(*things: Any) -> App:
    app = App("contract")
    app.include(PaidIn, PaidOut, Closed, Noted, *things)
    return app


def _into(seen: list[int], name: str) -> Callable[[PaidIn], None]:
    """Return a handler of this name that collects amounts."""

    def handle(event: PaidIn) -> None:
        seen.append(event.amount)

    handle.__name__ = name
    return handle


def _payments(rng: random.Random) -> list[NewEvents]:
    """Return new events for one or two accounts."""
    streams = rng.sample([f"account-{n}" for n in range(12)], rng.randint(1, 2))
    return [
        NewEvents(stream, [rng.choice([PaidIn(rng.randint(1, 9)), PaidOut(2), Closed()]) for _ in range(3)])
        for stream in streams
    ]


async def _folded(s: System) -> dict[str, Account]:
    """Return the expected rows: a fold of the whole log, event by event."""
    rows: dict[str, Account | None] = {}
    async for at in s.events():
        rows[at.stream_id] = Account.evolve(rows.get(at.stream_id), at.event, at)
    return {key: row for key, row in rows.items() if row is not None}


def _needs(s: System, **features: bool) -> None:
    """Skip the test if the store lacks a feature."""
    missing = [name for name in features if not getattr(s.store.log.features, name)]
    if missing:
        pytest.skip(f"this store lacks: {', '.join(missing)}")


async def _reset_by_other_process(s: System) -> None:
    """Reset the read model like another process, without a call to the processor."""
    table = definition_of(Account).table
    registration = await s.store.registrations.registration(table.name)
    assert registration is not None
    await s.store.registrations.reset(registration, table, 0)


async def _checkpoint_is(s: System, name: str, position: int) -> bool:
    checkpoint = await s.store.leases.range(RangeKey(name))
    return checkpoint is not None and checkpoint.position == position


async def _rows_are(s: System, rows: list[Account]) -> bool:
    return await s.find(Account) == rows
