"""Keys that fail: they leave the live lane, are retried, parked, redriven or discarded, and delay no other key."""

import asyncio
import random
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self

import pytest

import fait
from fait._store.open import backend_names
from fait._store.ports.failures import FailureRequest, KeyFailure
from fait._subscriptions import retry_plan
from fait._subscriptions.error_text import MAX_ERROR_CHARS, describe_error
from fait._telemetry import logger
from fait.testing.contract.processors import until
from fait.testing.contract.turns import let_readers_wait, turns

pytestmark = pytest.mark.anyio

SHARED = ["sqlite", "postgresql"]
PARK = fait.FailurePolicy(attempts=1)
TWICE = fait.FailurePolicy(initial_s=0.01, attempts=2)
ENDLESS = fait.FailurePolicy(initial_s=0.02, max_s=0.02, attempts=None)


@fait.event("keys.sent")
class Sent:
    number: int


@fait.event("keys.answered")
class Answered:
    number: int


@fait.event("keys.opened")
class Opened:
    account: str


@fait.event("keys.moved")
class Moved:
    amount: int
    source: str
    target: str


@pytest.fixture(params=sorted(backend_names()))
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture(params=SHARED)
def shared_url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def publish(s: fait.System, *sent: tuple[str, int]) -> fait.WriteResult[Any]:
    result = None
    for key, number in sent:
        result = await s.publish(Sent(number), stream=f"mail-{key}")
    assert result is not None
    return result


def keys_in(states: Iterable[str], failures: Iterable[KeyFailure]) -> list[str]:
    return [each.key for each in failures if each.state in states]


async def until_parked(s: fait.System, *keys: str) -> None:
    async def are_parked() -> bool:
        return keys_in(["parked"], await s.store.failures.failures()) == sorted(keys)

    await eventually(are_parked)


async def until_handed_back(s: fait.System) -> None:
    async def is_empty() -> bool:
        return not await s.store.failures.failures()

    await eventually(is_empty)


async def request(s: fait.System, name: str, key: str, *, discard_until: int = 0) -> None:
    state = "discarding" if discard_until else "redriving"
    assert await s.store.failures.request(FailureRequest(name, (key,), state, "ada", "mended", discard_until)) == 1


class Mail:
    """An app with a handler `send` that fails at some numbers, and what the handler has handled, by stream."""

    def __init__(self, *failing: int, **options: Any) -> None:
        self.app = fait.App("mail")
        self.failing = set(failing)
        self.attempts: list[tuple[int, int]] = []
        self.handled: dict[str, list[int]] = defaultdict(list)

        @self.app.on(Sent, **options)
        async def send(event: Sent, ctx: fait.Context) -> None:
            self.attempts.append((event.number, ctx.attempt))
            await asyncio.sleep(0)
            if event.number in self.failing:
                raise ValueError("no such address")
            self.handled[ctx.envelope.stream].append(event.number)


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_failing_key_delays_no_other_key(url: str, concurrency: int) -> None:
    mail = Mail(1, on_failure=ENDLESS, concurrency=concurrency)
    async with mail.app.open(url) as s:
        await publish(s, ("a", 1), ("a", 2))
        await publish(s, *(("b", number) for number in range(10, 20)), ("a", 3), ("c", 30))
        await until(lambda: sum(map(len, mail.handled.values())) >= 11 and (1, 4) in mail.attempts)
        assert mail.handled == {"mail-b": list(range(10, 20)), "mail-c": [30]}
        mail.failing.clear()
        await s.settle(timeout_s=30)

    assert mail.handled["mail-a"] == [1, 2, 3]
    failed = [attempt for number, attempt in mail.attempts if number == 1]
    assert failed == list(range(1, len(failed) + 1))


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_order_of_a_key_is_kept_while_it_is_retried_parked_and_redriven(url: str, concurrency: int) -> None:
    mail = Mail(2, on_failure=TWICE, concurrency=concurrency)
    async with mail.app.open(url, lease_s=0.4) as s:
        await publish(s, ("a", 1), ("a", 2), ("b", 101), ("a", 3))
        await until_parked(s, "mail-a")
        await publish(s, ("a", 4), ("b", 102))
        with pytest.raises(fait.Stale, match=r"'mail-a' is parked since .* Attempt 2 failed with builtins\.ValueE"):
            await s.wait()
        mail.failing = {3}
        await request(s, "send", "mail-a")
        await eventually(lambda: _is_at(s, 3))
        mail.failing.clear()
        await request(s, "send", "mail-a")
        for number in range(5, 40):
            await publish(s, ("a", number), ("b", 100 + number))
        await s.settle(timeout_s=30)
        await until_handed_back(s)

    assert mail.handled["mail-a"] == list(range(1, 40))
    assert mail.handled["mail-b"] == [101, 102, *range(105, 140)]
    assert [each for each in mail.attempts if each[0] in (2, 3)].count((3, 1)) >= 1
    assert (2, 3) in mail.attempts  # a redrive continues to count


async def _is_at(s: fait.System, number: int) -> bool:
    [failure] = await s.store.failures.failures()
    [event] = [each async for each in s.events() if each.id == failure.event_id]
    return failure.state == "parked" and event.event == Sent(number)


async def test_redriven_key_that_fails_is_parked_without_retries(url: str) -> None:
    mail = Mail(1, on_failure=fait.FailurePolicy(initial_s=0.001, attempts=3))
    async with mail.app.open(url, lease_s=0.2) as s:
        await publish(s, ("a", 1), ("a", 2))
        await until_parked(s, "mail-a")
        await request(s, "send", "mail-a")
        await until(lambda: len(mail.attempts) >= 4)
        await until_parked(s, "mail-a")
        [first] = await s.store.failures.failures()
        mail.failing = {2}
        await request(s, "send", "mail-a")
        await eventually(lambda: _is_at(s, 2))
        await publish(s, ("b", 3))
        await until(lambda: "mail-b" in mail.handled)  # a retry of the parked key would be due before
        [second] = await s.store.failures.failures()

    assert mail.attempts == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 1), (3, 1)]
    assert (first.attempts, first.requested_by) == (4, "")
    assert (second.attempts, second.requested_by) == (1, "")


async def test_parked_key_is_redriven_after_a_restart(shared_url: str) -> None:
    broken, mended = Mail(1, on_failure=PARK), Mail(on_failure=PARK)
    async with broken.app.open(shared_url) as s:
        await publish(s, *(("a", number) for number in range(1, 30)), ("b", 1000))
        await until_parked(s, "mail-a")
        with pytest.raises(fait.NotSettled):
            await s.settle()
    async with mended.app.open(shared_url, run="elsewhere") as s:
        await publish(s, ("a", 30))
        await request(s, "send", "mail-a")
    async with mended.app.open(shared_url) as s:
        await publish(s, ("a", 31))
        await s.settle(timeout_s=30)

    assert mended.handled == {"mail-a": list(range(1, 32))}
    assert mended.attempts[:2] == [(1, 2), (2, 1)]
    assert broken.handled == {"mail-b": [1000]}


async def test_discarded_events_are_passed_and_the_later_ones_handled(url: str) -> None:
    mail = Mail(1, 2, on_failure=PARK)
    async with mail.app.open(url, lease_s=0.4) as s:
        await publish(s, ("a", 1))
        await until_parked(s, "mail-a")
        result = await publish(s, ("b", 5), ("a", 2))
        await publish(s, ("a", 3))
        await request(s, "send", "mail-a", discard_until=result.position)
        await s.settle(timeout_s=30)
        [action] = await s.store.failures.actions()

    assert mail.handled == {"mail-a": [3], "mail-b": [5]}
    assert mail.attempts.count((2, 1)) == 0
    assert (action.action, action.by, action.reason) == ("discard", "ada", "mended")


async def test_discard_up_to_a_position_after_the_log_concerns_later_events() -> None:
    mail = Mail(1, on_failure=PARK)
    async with mail.app.open("memory:", lease_s=0.2) as s:
        first = await publish(s, ("a", 1))
        await until_parked(s, "mail-a")
        await request(s, "send", "mail-a", discard_until=first.position + 1)

        async def is_discarded() -> bool:
            return keys_in(["redriving"], await s.store.failures.failures()) == ["mail-a"]

        await eventually(is_discarded)
        await publish(s, ("a", 2), ("a", 3))
        await s.settle(timeout_s=30)

    assert mail.handled == {"mail-a": [3]}


async def test_skipped_event_is_passed_after_its_attempts(url: str) -> None:
    mail = Mail(1, on_failure=fait.FailurePolicy(initial_s=0.001, attempts=2, then="skip"), concurrency=3)
    async with mail.app.open(url) as s:
        await publish(s, ("a", 1), ("a", 2), ("b", 3))
        await s.settle(timeout_s=30)
        assert await s.store.failures.failures() == []

    assert mail.handled == {"mail-a": [2], "mail-b": [3]}
    assert [each for each in mail.attempts if each[0] == 1] == [(1, 1), (1, 2)]


async def test_handler_with_one_order_key_stops_at_a_failing_event(url: str) -> None:
    mail = Mail(2, on_failure=ENDLESS, order_key="all")
    async with mail.app.open(url) as s:
        await publish(s, ("a", 1), ("b", 2), ("c", 3), ("a", 4))
        await until(lambda: len(mail.attempts) >= 5)
        assert mail.handled == {"mail-a": [1]}
        mail.failing.clear()
        await s.settle(timeout_s=30)

    assert mail.handled == {"mail-a": [1, 4], "mail-b": [2], "mail-c": [3]}
    assert [number for number, _ in mail.attempts if number != 2] == [1, 3, 4]


@pytest.mark.parametrize("batch", [1, 5])
async def test_concurrent_calls_keep_the_order_of_keys_and_take_effect_once(url: str, batch: int) -> None:
    app, chance, running = fait.App("mail"), random.Random(1), set[str]()
    app.include(Answered)
    expected = [(f"mail-{chance.randrange(12)}", number) for number in range(250)]

    @app.on(Sent, concurrency=8, batch=batch, on_failure=fait.FailurePolicy(initial_s=0.001, max_s=0.02, attempts=None))
    async def answer(event: Sent, ctx: fait.Context) -> None:
        stream = ctx.envelope.stream
        assert stream not in running
        running.add(stream)
        try:
            await turns(chance.randrange(40))
            await ctx.publish(Answered(event.number), stream=stream.replace("mail", "answer"))
            if chance.random() < 0.1:
                raise ValueError("not now")
        finally:
            running.discard(stream)

    async with app.open(url) as s:
        for stream, number in expected:
            await s.publish(Sent(number), stream=stream)
        await s.settle(timeout_s=60)
        answers = [each async for each in s.events() if isinstance(each.event, Answered)]

    for key in range(12):
        numbers = [number for stream, number in expected if stream == f"mail-{key}"]
        assert [each.event.number for each in answers if each.stream == f"answer-{key}"] == numbers


async def test_concurrent_calls_overlap(url: str) -> None:
    app, together = fait.App("mail"), asyncio.Barrier(6)

    @app.on(Sent, concurrency=6)
    async def send(event: Sent) -> None:
        await together.wait()

    async with app.open(url) as s:
        await publish(s, *((str(number), number) for number in range(6)))
        await s.settle(timeout_s=30)


# Read models


def bank(broken: set[tuple[str, int]]) -> tuple[fait.App, Any]:
    """Return an app whose read model has a row for each account, with the amounts that it has seen in order.

    A pair of an account and an amount in `broken` makes the row of that account fail.
    """

    class Statements(fait.ReadModel, key="account"):
        account: str
        amounts: str = ""

        @classmethod
        def key_of(cls, event: Opened | Moved, envelope: fait.Envelope) -> list[str]:
            return [event.account] if isinstance(event, Opened) else [event.source, event.target]

        @classmethod
        def evolve(cls, row: Self | None, event: Opened | Moved, at: fait.Envelope) -> Self | None:
            if isinstance(event, Opened):
                return cls(account=event.account)
            assert row is not None
            if (row.account, event.amount) in broken:
                raise ValueError("overdrawn")
            row.amounts += f"{event.amount} "
            return row

    app = fait.App("bank")
    app.include(Statements, Opened, Moved)
    return app, Statements


async def move(s: fait.System, *amounts: int, source: str = "a", target: str = "b") -> fait.WriteResult[Any]:
    return await s.append(fait.NewEvents("moves-1", [Moved(each, source, target) for each in amounts]))


async def amounts_of(s: fait.System, model: Any) -> dict[str, str]:
    return {row.account: row.amounts.strip() for row in await s.find(model)}


async def test_event_for_two_keys_of_which_one_fails_is_folded_for_the_other(url: str) -> None:
    broken = {("b", 2)}
    app, statements = bank(broken)
    async with app.open(url, lease_s=0.4) as s:
        await s.append(fait.NewEvents("bank-1", [Opened(each) for each in "abc"]))
        await move(s, 1, 2, 3)
        last = await move(s, 4, source="b", target="c")
        await until_parked(s, '"b"')
        await s.get(statements, "a", after=last, timeout_s=30)
        with pytest.raises(fait.Stale, match="'\"b\"' is parked"):
            await s.get(statements, "b", after=last, timeout_s=30)
        assert await amounts_of(s, statements) == {"a": "1 2 3", "b": "1", "c": "4"}
        broken.clear()
        await request(s, "statements", '"b"')
        await move(s, 5)
        await s.settle(timeout_s=30)

        assert await amounts_of(s, statements) == {"a": "1 2 3 5", "b": "1 2 3 4 5", "c": "4"}


async def test_redrive_of_a_read_model_with_own_keys_repeats_after_a_restart(shared_url: str) -> None:
    broken_app, _ = bank({("b", 2)})
    app, statements = bank(set())
    async with broken_app.open(shared_url) as s:
        await s.append(fait.NewEvents("bank-1", [Opened(each) for each in "ab"]))
        await move(s, *range(1, 20))
        await until_parked(s, '"b"')
    async with app.open(shared_url, accept=["statements"]) as s:
        await move(s, 20)
        await request(s, "statements", '"b"')
        await s.settle(timeout_s=30)

        expected = " ".join(map(str, range(1, 21)))
        assert await amounts_of(s, statements) == {"a": expected, "b": expected}


class Letters(fait.ReadModel, key="letter"):
    letter: str
    number: int

    @classmethod
    def evolve(cls, row: Self | None, event: Sent, at: fait.Envelope) -> Self | None:
        if event.number in BROKEN:
            raise ValueError("illegible")
        return cls(letter=at.stream_id, number=event.number)


BROKEN = set[int]()


async def test_poisoned_key_among_many_is_the_only_one_without_a_row(url: str) -> None:
    app, total = fait.App("letters"), 10_000
    app.include(Letters)
    BROKEN.add(5_000)
    try:
        async with app.open(url) as s:
            for start in range(0, total - 1_000, 1_000):
                await s.append(*_letters(start))
            result = await s.append(*_letters(total - 1_000))
            await until_parked(s, "letter-5000")
            row = await s.get(Letters, "9999", after=result, timeout_s=60)
            with pytest.raises(fait.Stale) as raised:
                await s.get(Letters, "5000", after=result)
            numbers = {each.number for page in range(10) for each in await _thousand(s, page)}
    finally:
        BROKEN.clear()

    assert row is not None
    assert raised.value.parked_key == "letter-5000"
    assert numbers == set(range(total)) - {5_000}


def _letters(start: int) -> list[fait.NewEvents]:
    return [fait.NewEvents(f"letter-{each}", [Sent(each)]) for each in range(start, start + 1_000)]


async def _thousand(s: fait.System, page: int) -> list[Letters]:
    return await s.find(Letters, number=fait.between(page * 1_000, page * 1_000 + 999), limit=1_000)


async def test_read_that_overlaps_with_a_redrive_does_not_return_the_old_row(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = fait.App("letters")
    app.include(Letters)
    async with app.open(url, lease_s=0.2) as s:
        await s.wait(await publish(s, ("1", 1)))
        BROKEN.add(2)
        result = await publish(s, ("1", 2))
        await until_parked(s, "mail-1")
        BROKEN.clear()
        tables: Any = s.store.tables
        select = tables.select

        async def select_and_redrive(*arguments: Any, **options: Any) -> Any:
            rows = await select(*arguments, **options)
            if await s.store.failures.failures():
                await request(s, "letters", "mail-1")
                await until_handed_back(s)
            return rows

        monkeypatch.setattr(tables, "select", select_and_redrive)
        [row] = await s.find(Letters, letter="1", after=result, timeout_s=30)

    assert row.number == 2


# Many failures


async def test_attempts_at_one_event_follow_when_many_keys_fail_one_after_another(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_plan, "MAX_FAILURES_IN_A_ROW", 5)
    mail = Mail(*range(50), on_failure=PARK)
    async with mail.app.open(url) as s:
        await publish(s, *((str(number), number) for number in range(50)))

        async def is_waiting() -> bool:
            parked = await s.store.failures.failures()
            return len(parked) == 50 or await _has_error(s, fait.Unavailable)

        await eventually(is_waiting)
        await let_readers_wait(s.store.log)  # no further call begins
        failures, [status] = await s.store.failures.failures(), await s.status()
        mail.failing.clear()
        await until(lambda: 49 in mail.handled["mail-49"])

    assert isinstance(status.error, fait.Unavailable)
    assert "keys of 'send' have failed one after another" in str(status.error)
    assert describe_error(status.error).location.endswith(" send")
    assert 5 <= len(failures) < 15


async def test_subscription_with_too_many_parked_keys_is_paused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_plan, "MAX_PARKED_KEYS", 5)
    mail = Mail(*range(0, 40, 2), on_failure=PARK)
    async with mail.app.open(url) as s:
        await publish(s, *((str(number), number) for number in range(40)))

        async def is_paused() -> bool:
            return (await s.status())[0].state == "paused"

        await eventually(is_paused)
        failures = await s.store.failures.failures()
        actions = await s.store.failures.actions()

    assert len(failures) == 5
    assert [(each.action, each.by) for each in actions] == [("pause", "fait")]
    assert "5 parked keys: ValueError at event" in actions[0].reason


async def test_service_that_is_unavailable_counts_no_attempt(url: str) -> None:
    app, attempts = fait.App("mail"), list[int]()

    class MailServerDown(Exception):
        pass

    @app.on(Sent, concurrency=4, on_failure=fait.FailurePolicy(attempts=1, outages=(MailServerDown,)))
    async def send(event: Sent, ctx: fait.Context) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 4:
            raise MailServerDown

    async with app.open(url) as s:
        await publish(s, ("a", 1), ("b", 2))
        await s.settle(timeout_s=30)
        assert await s.store.failures.failures() == []

    assert set(attempts) == {1}


async def test_hung_call_keeps_its_thread_and_its_key_only(url: str) -> None:
    app, resume, calls, handled = fait.App("mail"), threading.Event(), list[int](), list[int]()
    policy = fait.FailurePolicy(initial_s=0.001, max_s=0.001, attempts=None)

    @app.on(Sent, concurrency=2, timeout_s=0.1, on_failure=policy)
    def send(event: Sent) -> None:
        calls.append(event.number)
        if event.number == 1 and calls.count(1) == 1:
            resume.wait(20)
        handled.append(event.number)

    async with app.open(url) as s:
        await publish(s, ("a", 1), ("a", 2), *(("b", number) for number in range(10, 15)))
        try:
            await until(lambda: len(handled) == 5)
            await eventually(s.store.failures.failures)
            for number in range(15, 20):  # until then, the other key is due many times
                await publish(s, ("b", number))
                await until(lambda number=number: number in handled)
            assert (handled, calls.count(1)) == (list(range(10, 20)), 1)
        finally:
            resume.set()
        await s.settle(timeout_s=30)

    assert handled[10:] == [1, 1, 2]  # the hung call ends, and its event is handled again


async def test_failed_key_waits_at_an_event_that_only_newer_code_handles(shared_url: str) -> None:
    older, failing, handled = Mail(), {1}, list[int]()
    newer = fait.App("mail")

    @newer.on(Sent, Answered, name="send", on_failure=ENDLESS)
    def send(event: Sent | Answered) -> None:
        if event.number in failing:
            raise ValueError("no such address")
        handled.append(event.number)

    async with newer.open(shared_url) as s:
        await publish(s, ("a", 1))
        await s.publish(Answered(2), stream="mail-a")
        result = await publish(s, ("b", 3))
        await eventually(lambda: _is_passed(s, result.position))
    async with older.app.open(shared_url) as s:
        await eventually(lambda: _has_error(s, fait.EventTooNew))
    failing.clear()
    async with newer.open(shared_url) as s:
        await s.settle(timeout_s=30)

    assert older.handled == {"mail-a": [1]}
    assert handled == [3, 2]


async def _is_passed(s: fait.System, position: int) -> bool:
    return (await s.status())[0].position >= position


async def _has_error(s: fait.System, error: type[Exception]) -> bool:
    return isinstance((await s.status())[0].error, error)


# What is stored


async def test_stored_error_is_bounded_and_without_secrets_and_values_of_variables(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = fait.App("mail")
    monkeypatch.setattr(logger, "disabled", True)  # a lone surrogate cannot be part of a test report

    @app.on(Sent, on_failure=PARK)
    def send(event: Sent) -> None:
        card_number = "4111-1111"
        del card_number
        raise ValueError("postgres://me:hunter2@db/x password=hunter2 \0 \ud800 " + "x" * 5_000)

    async with app.open(url) as s:
        await publish(s, ("a", 1))
        await until_parked(s, "mail-a")
        [failure] = await s.store.failures.failures()

    assert failure.error.startswith("postgres://me:***@db/x password=***  ? x")
    assert len(failure.error) == MAX_ERROR_CHARS
    assert failure.error_type == "builtins.ValueError"
    assert "test_keys.py" in failure.location
    assert failure.location.endswith(" send")
    assert "raise ValueError" in failure.traceback
    assert "4111" not in failure.traceback.replace('card_number = "4111-1111"', "")
