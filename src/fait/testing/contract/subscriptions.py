"""What subscriptions promise on every store: read models, reactors, and what runs them, through `fait._app.App`."""
# ruff: noqa: D102, S311 - the name of a test is its sentence; chance is seeded, not secret

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import pytest

from fait._app import App, System
from fait._decisions.client import NewEvents
from fait._errors import LeaseLost, Stale
from fait._events.append import Page
from fait._events.envelope import Envelope
from fait._events.event import event
from fait._events.query import Query
from fait._store.ledger import Checkpoint, Row, UnitOfWork
from fait._store.open import Store
from fait._subscriptions.failure import Retry
from fait._subscriptions.processor import ProcessingContext, Processor
from fait._subscriptions.reactor import Context
from fait._subscriptions.read_model import ReadModel, definition_of
from fait.testing.contract.store import Opener, StoreContract, added, everything, new, soon, write

__all__ = ["SubscriptionContract"]

QUICKLY = Retry(initial_s=0.005, max_s=0.01)


@event("contract.paid-in")
class PaidIn:
    """Money came."""

    amount: int


@event("contract.paid-out")
class PaidOut:
    """Money went."""

    amount: int


@event("contract.closed")
class Closed:
    """The account is gone."""


@event("contract.noted")
class Noted:
    """Something that no read model minds."""

    text: str = ""


class Account(ReadModel, key="account_id", table="contract_accounts"):
    """A row per stream, whose fold depends on order."""

    account_id: str
    balance: int
    history: str
    version: int

    @classmethod
    def evolve(cls, row: "Account | None", event: PaidIn | PaidOut | Closed, at: Envelope[Any]) -> "Account | None":
        """Add up; a closed account is no row."""
        if isinstance(event, Closed):
            return None
        balance, history = (row.balance, row.history) if row else (0, "")
        amount = event.amount if isinstance(event, PaidIn) else -event.amount
        return cls(
            account_id=at.stream_id, balance=balance + amount, history=f"{history}{amount:+}", version=at.version
        )


class Recorder:
    """A subscription of everything, that says what it was given and can be told to stop in the middle."""

    query: Query = Query(types=("wanted",))

    def __init__(self, name: str = "recorder", stop_at: int = 0, work_s: float = 0) -> None:
        self.name = name
        self.seen: list[int] = []
        self._stop_at = stop_at
        self._work_s = work_s

    async def handle(self, page: Page, context: ProcessingContext) -> None:
        for each in page.events:
            if context.stopping:
                return
            await asyncio.sleep(self._work_s)
            self.seen.append(each.position)
            if len(self.seen) == self._stop_at and isinstance(context, Processor):
                context.stop()
            await context.record(UnitOfWork(self.name, context.position, each.position, context.fencing_token))
        if page.position > context.position:
            context.skip_to(page.position)


class Broken(Recorder):
    """A recorder that fails at an event, so many times."""

    def __init__(self, fails_at: int, times: float) -> None:
        super().__init__()
        self._fails_at = fails_at
        self._times = times
        self.failed: int = 0

    async def handle(self, page: Page, context: ProcessingContext) -> None:
        sound = [each for each in page.events if each.position < self._fails_at or self.failed >= self._times]
        await super().handle(Page(sound, sound[-1].position if sound else context.position, more=False), context)
        if len(sound) < len(page.events):
            self.failed += 1
            raise ValueError("old code")


class SubscriptionContract(StoreContract):
    """The promises of projections, reactors and processors."""

    # Read models

    async def test_rows_are_the_fold_of_the_log(self, url: str) -> None:
        chance = random.Random(11)
        async with _app(Account).open(url) as s:
            for _ in range(40):
                await asyncio.gather(*(s.append(*_payments(chance)) for _ in range(3)))
            done = await s.publish(PaidIn(1), stream="account-last")

            rows = await s.find(Account, after=done)

            assert {row.account_id: row for row in rows} == await _folded(s)
            assert len(rows) > 5

    async def test_a_write_is_read_by_who_waits_for_it(self, url: str) -> None:
        async with _app(Account).open(url) as s:
            for n in range(1, 30):
                done = await s.publish(PaidIn(1), stream="account-1")
                row = await s.get(Account, "1", after=done)

                assert row is not None
                assert row.balance == n

    async def test_events_that_do_not_concern_a_read_model_do_not_hold_it_up(self, url: str) -> None:
        async with _app(Account, Noted).open(url) as s:
            await s.publish(PaidIn(1), stream="account-1")
            done = await s.append(*(NewEvents(f"note-{n}", [Noted()] * 50) for n in range(30)))

            assert len(await s.find(Account, after=done)) == 1

            await _eventually(lambda: _checkpoint_is(s, "contract_accounts", done.position))

    async def test_a_checkpoint_is_never_ahead_of_its_rows(self, url: str) -> None:
        async with _app(Account).open(url) as s:

            async def publish() -> None:
                for _ in range(60):
                    await s.publish(PaidIn(1), stream="account-1")
                    await asyncio.sleep(0.001)

            seen, writing = list[tuple[int, int]](), asyncio.create_task(publish())
            while not writing.done():
                checkpoint, row = await s.store.ledger.checkpoint("contract_accounts"), await s.get(Account, "1")
                seen.append((checkpoint.position if checkpoint else 0, row.version if row else 0))
                await asyncio.sleep(0.001)
            await writing
            versions = {each.position: each.version for each in await everything(s.store.log)}

        assert all(version >= versions.get(position, 0) for position, version in seen)
        assert len(set(seen)) > 1

    async def test_who_waits_in_vain_is_told_which_read_model_is_late(self, url: str) -> None:
        async with _app(Account).open(url, run="elsewhere") as s:
            done = await s.publish(PaidIn(1), stream="account-1")

            with pytest.raises(Stale) as late:
                await s.find(Account, after=done, timeout_s=0.05)

        assert (late.value.subscription, late.value.position, late.value.target) == (
            "contract_accounts",
            0,
            done.position,
        )

    async def test_a_rebuilt_read_model_has_its_rows_again_though_nothing_new_happens(self, url: str) -> None:
        async with _app(Account).open(url) as s:
            done = await s.append(*(NewEvents(f"account-{n}", [PaidIn(n)]) for n in range(5)))
            before = await s.find(Account, after=done)
            await _until(lambda: s._subscription_runner.processors["contract_accounts"].state == "live")  # pyright: ignore[reportPrivateUsage]

            await s.rebuild(Account)

            await _eventually(lambda: _rows_are(s, before))

    async def test_what_was_asked_for_after_a_write_is_never_answered_from_a_table_that_is_built_anew(
        self, url: str
    ) -> None:
        async with _app(Account).open(url) as s:
            done = await s.append(*(NewEvents(f"account-{n}", [PaidIn(n)]) for n in range(5)))
            whole = await s.find(Account, after=done)

            await _built_anew_elsewhere(s)
            assert await s.find(Account, after=done) == whole
            await _built_anew_elsewhere(s)
            await s.wait(done, Account)
            assert await s.find(Account) == whole

    @pytest.mark.parametrize("run", ["here", "elsewhere"])
    async def test_a_read_model_that_is_built_anew_while_it_is_asked_is_asked_again(
        self, url: str, run: Literal["here", "elsewhere"]
    ) -> None:
        app = _app(Account)
        async with app.open(url) as owner, app.open(url, run=run) as other:
            s = other if owner.store.log.features.shared else owner
            done = await s.append(*(NewEvents(f"account-{n}", [PaidIn(n)]) for n in range(5)))
            whole, select, looked = await s.find(Account, after=done), s.store.ledger.select, list[int]()

            async def set_back_just_before(*args: Any, **kwargs: Any) -> list[Row]:
                if not looked:
                    await _built_anew_elsewhere(s)
                looked.append(1)
                return await select(*args, **kwargs)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(s.store.ledger, "select", set_back_just_before)
                found = await s.find(Account, after=done)

        assert found == whole
        assert len(looked) > 1

    # Reactors

    async def test_a_reactor_handles_every_event_once_in_the_order_of_the_log(self, url: str) -> None:
        app, seen = _app(), list[Envelope[Any]]()

        @app.on(PaidIn, PaidOut)
        async def react(event: Any, ctx: Context) -> None:
            await asyncio.sleep(0)
            seen.append(ctx.envelope)

        async with app.open(url) as s:
            chance = random.Random(2)
            await asyncio.gather(*(s.append(*_payments(chance)) for _ in range(30)))
            await s.wait(await s.publish(PaidIn(1), stream="account-last"))
            wanted = [e.position for e in await everything(s.store.log) if e.type != "contract.closed"]

        assert [at.position for at in seen] == wanted
        versions = defaultdict[str, list[int]](list)
        for at in seen:
            versions[at.stream].append(at.version)
        assert all(each == sorted(each) for each in versions.values())

    async def test_a_reactor_tries_until_it_succeeds_and_goes_on_only_then(self, url: str) -> None:
        app, attempts = _app(), list[tuple[int, int]]()

        @app.on(PaidIn, retry=QUICKLY)
        async def react(event: PaidIn, ctx: Context) -> None:
            attempts.append((event.amount, ctx.attempt))
            if event.amount == 2 and ctx.attempt < 6:
                raise ConnectionError("the bank does not answer")

        async with app.open(url) as s:
            for amount in (1, 2, 3):
                done = await s.publish(PaidIn(amount), stream="account-1")
            await s.wait(done)

        assert attempts == [(1, 1), *((2, n) for n in range(1, 7)), (3, 1)]

    async def test_a_reactor_that_fails_holds_its_checkpoint_and_nobody_elses(self, url: str) -> None:
        app, seen = _app(Account), list[int]()

        @app.on(PaidIn, retry=QUICKLY)
        def react(event: PaidIn) -> None:
            seen.append(event.amount)
            if event.amount == 2:
                raise ValueError("never")

        async with app.open(url) as s:
            first = await s.publish(PaidIn(1), stream="account-1")
            for amount in (2, 3):
                done = await s.publish(PaidIn(amount), stream=f"account-{amount}")

            assert len(await s.find(Account, after=done)) == 3
            with pytest.raises(Stale) as late:
                await s.wait(done, timeout_s=0.2)

            assert (late.value.subscription, late.value.position) == ("react", first.position)
            assert await _checkpoint_is(s, "react", first.position)
        assert seen[0] == 1
        assert set(seen[1:]) == {2}

    async def test_what_a_handler_publishes_happens_once_however_often_it_is_tried(self, url: str) -> None:
        await self._published_once(url, {})

    async def test_what_a_handler_publishes_under_options_happens_once_too(self, url: str) -> None:
        await self._published_once(url, {"extra": {"from": "a handler"}})

    async def test_statements_of_a_handler_run_once_however_often_it_is_tried(self, url: str) -> None:
        app = _app(Account)

        @app.on(PaidOut, retry=QUICKLY)
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

    async def test_a_new_reactor_starts_now_and_a_new_read_model_at_the_beginning(self, url: str) -> None:
        first = App("first")
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

    async def test_after_reopening_a_reactor_goes_on_where_it_was(self, url: str) -> None:
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

    async def test_two_systems_on_one_store_do_everything_once(self, url: str) -> None:
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
                    asked = (each.publish(PaidIn(1), stream=f"account-{n}") for each in (one, two))
                    await asyncio.gather(*asked)
                await two.wait(await two.publish(Noted(), stream="note-1"))
            await one.wait(await one.publish(PaidIn(1), stream="account-0"))
            row = await one.get(Account, "counter")
            assert {row.account_id: row.balance for row in await one.find(Account)} == {
                "counter": 0, "0": 3, **{str(n): 2 for n in range(1, 20)}
            }  # fmt: skip

        assert set(calls.values()) == {1}
        assert row is not None
        assert row.version == 1 + 100 * 41

    async def test_an_owner_who_shows_life_is_not_replaced(self, store: Store) -> None:
        await _start(store, "recorder")
        owner = Processor(Recorder(), store.log, store.ledger, "owner", lease_s=0.4)
        thief = Processor(Recorder(), store.log, store.ledger, "thief", lease_s=0.4)
        running = [asyncio.create_task(owner.run())]
        await _until(lambda: owner.state == "live")
        running.append(asyncio.create_task(thief.run()))
        for _ in range(10):
            await store.ledger.heartbeat("owner")
            await asyncio.sleep(0.1)

        lease = await store.ledger.lease("recorder")

        await _stopped(running, owner, thief)
        assert (lease.owner, lease.fencing_token) == ("owner", 1)

    async def test_an_owner_who_falls_silent_is_replaced_and_its_work_refused(self, store: Store) -> None:
        await _start(store, "recorder")
        await added(store.log, write("a", [new("wanted") for _ in range(3)]))
        silent, heir = Recorder(work_s=0.5), Recorder()
        old = Processor(silent, store.log, store.ledger, "silent", lease_s=0.1)
        running = [asyncio.create_task(old.run())]
        await _until(lambda: old.state == "catching_up")
        new_owner = Processor(heir, store.log, store.ledger, "heir", lease_s=0.1)
        running.append(asyncio.create_task(new_owner.run()))
        await _until(lambda: len(heir.seen) == 3)

        with pytest.raises(LeaseLost):
            await old.record(UnitOfWork("recorder", 0, 99, old.fencing_token))

        await _stopped(running, old, new_owner)
        assert heir.seen == [each.position for each in await everything(store.log)]
        checkpoint = await store.ledger.checkpoint("recorder")
        assert checkpoint is not None
        assert checkpoint.position == await store.log.head()

    async def test_an_owner_that_gets_no_further_makes_way_for_one_that_does(self, store: Store) -> None:
        await _start(store, "recorder")
        await added(store.log, write("a", [new("wanted") for _ in range(5)]))
        positions = [each.position for each in await everything(store.log)]
        broken, sound = Broken(positions[2], math.inf), Recorder()
        owner = Processor(broken, store.log, store.ledger, "owner", lease_s=2)
        heir = Processor(sound, store.log, store.ledger, "heir", lease_s=2)
        running = [asyncio.create_task(owner.run()), asyncio.create_task(_shows_life(store, "owner"))]
        await _until(lambda: owner.state == "failing")
        running.append(asyncio.create_task(heir.run()))

        await _until(lambda: heir.position == positions[-1])
        await _until(lambda: owner.state == "waiting")

        running.pop(1).cancel()
        await _stopped(running, owner, heir)
        assert broken.seen + sound.seen == positions
        assert owner.error is None

    async def test_an_owner_that_made_way_for_nobody_tries_again_and_says_meanwhile_what_is_wrong(
        self, store: Store
    ) -> None:
        await _start(store, "recorder")
        await added(store.log, write("a", [new("wanted")]))
        alone = Broken(0, times=4)
        owner = Processor(alone, store.log, store.ledger, "owner", lease_s=2)
        running = [asyncio.create_task(owner.run()), asyncio.create_task(_shows_life(store, "owner"))]
        made_way = list[tuple[int, str, str]]()
        while not alone.seen:
            told = (alone.failed, owner.state, str(owner.error))
            lease = await store.ledger.lease("recorder")
            if lease.fencing_token and not lease.owner and told == (alone.failed, owner.state, str(owner.error)):
                made_way.append(told)
            await asyncio.sleep(0.01)
        await _until(lambda: owner.state == "live")

        running.pop().cancel()
        await _stopped(running, owner)
        assert set(made_way) == {(3, "failing", "old code"), (4, "failing", "old code")}
        assert owner.error is None

    async def test_who_stops_in_the_middle_of_a_page_skips_nothing(self, store: Store) -> None:
        await _start(store, "recorder")
        await added(store.log, write("a", [new("wanted") for _ in range(1000)]), write("b", [new("other")]))
        stops, goes_on = Recorder(stop_at=3), Recorder()

        async with soon():
            await Processor(stops, store.log, store.ledger, "one").run()
        checkpoint = await store.ledger.checkpoint("recorder")
        await store.ledger.release_all("one")
        heir = Processor(goes_on, store.log, store.ledger, "two")
        running = [asyncio.create_task(heir.run())]
        await _until(lambda: heir.position >= 1001)

        await _stopped(running, heir)
        assert checkpoint is not None
        assert checkpoint.position == stops.seen[-1]
        assert len(stops.seen + goes_on.seen) == 1000

    async def test_an_app_can_be_opened_while_another_process_is_working(self, url: str, opener: Opener) -> None:
        app = _app(Account)
        async with app.open(url) as busy:
            _needs(busy, shared=True)
            async with opener() as store:
                late = System(app, store, busy._runner.clock, 5.0)  # pyright: ignore[reportPrivateUsage]
                head = store.log.head

                async def then_others_go_on() -> int:
                    known = await head()
                    done = await busy.publish(PaidIn(1), stream="account-1")
                    await busy.wait(done)
                    await _eventually(lambda: _checkpoint_is(busy, "contract_accounts", done.position))
                    return known

                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(store.log, "head", then_others_go_on)
                    await late._prepare({}, (), ())  # pyright: ignore[reportPrivateUsage]

    async def _published_once(self, url: str, options: dict[str, Any]) -> None:
        app = _app(Noted)

        @app.on(PaidIn, retry=QUICKLY)
        async def react(event: PaidIn, ctx: Context) -> None:
            said = ctx.using(**options) if options else ctx
            await said.publish(Noted("first"), stream="notes")
            await said.append(NewEvents("notes", [Noted("second")]), NewEvents("others", [Noted()]))
            if ctx.attempt < 3:
                raise ValueError("not yet")

        async with app.open(url) as s:
            for _ in range(2):
                await s.wait(await s.publish(PaidIn(1), stream="account-1"))
            streams = {each.stream: each.version for each in await s.store.log.streams()}

        assert streams == {"account-1": 2, "notes": 4, "others": 2}


def _app(*things: Any) -> App:
    app = App("contract")
    app.include(*things)
    return app


def _into(seen: list[int], name: str) -> Callable[[PaidIn], None]:
    """A handler of that name which only keeps amounts."""

    def handle(event: PaidIn) -> None:
        seen.append(event.amount)

    handle.__name__ = name
    return handle


def _payments(chance: random.Random) -> list[NewEvents]:
    """Facts for one or two accounts."""
    streams = chance.sample([f"account-{n}" for n in range(12)], chance.randint(1, 2))
    return [
        NewEvents(stream, [chance.choice([PaidIn(chance.randint(1, 9)), PaidOut(2), Closed()]) for _ in range(3)])
        for stream in streams
    ]


async def _folded(s: System) -> dict[str, Account]:
    """What the rows should be, folded here, one event after the other."""
    rows: dict[str, Account | None] = {}
    async for at in s.events():
        rows[at.stream_id] = Account.evolve(rows.get(at.stream_id), at.event, at)
    return {key: row for key, row in rows.items() if row is not None}


def _needs(s: System, **features: bool) -> None:
    """Skip what the store does not promise, and does not say it does."""
    missing = [name for name in features if not getattr(s.store.log.features, name)]
    if missing:
        pytest.skip(f"this store is not: {', '.join(missing)}")


async def _start(store: Store, name: str) -> None:
    """Write the first checkpoint of a subscription that no app declares."""
    mine = store.log.identity
    await store.ledger.start_checkpoint(Checkpoint(name, "contract", 0, mine.log_id, mine.epoch))


async def _shows_life(store: Store, owner: str) -> None:
    while True:
        await store.ledger.heartbeat(owner)
        await asyncio.sleep(0.1)


async def _built_anew_elsewhere(s: System) -> None:
    """Set the read model back as another process would, which tells nobody."""
    table = definition_of(Account).table
    was = await s.store.ledger.checkpoint(table.name)
    assert was is not None
    await s.store.ledger.reset_table(
        table, Checkpoint(table.name, was.app, 0, was.log_id, was.epoch, was.definition_hash)
    )


async def _checkpoint_is(s: System, name: str, position: int) -> bool:
    checkpoint = await s.store.ledger.checkpoint(name)
    return checkpoint is not None and checkpoint.position == position


async def _rows_are(s: System, rows: list[Account]) -> bool:
    return await s.find(Account) == rows


async def _eventually(holds: Any) -> None:
    """Wait until something holds that has to be asked for."""
    async with soon():
        while not await holds():  # noqa: ASYNC110 - nobody rings for it
            await asyncio.sleep(0.01)


async def _until(holds: Any) -> None:
    async with soon():
        while not holds():  # noqa: ASYNC110 - nobody rings for it
            await asyncio.sleep(0.005)


async def _stopped(running: list["asyncio.Task[None]"], *processors: Processor) -> None:
    for processor in processors:
        processor.stop()
    with suppress(LeaseLost):
        async with soon():
            await asyncio.gather(*running)
