"""`fait doctor` says why a subscription does not handle events: its worker, its failed keys, a pause, or an outage."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest

import fait
from fait._clock import ManualClock, SystemClock
from fait._store.open import open_store
from fait._store.overview import read_overviews
from fait._store.ports.failures import MAX_ACTIONS
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RangeMove, UnitOfWork
from fait._subscriptions.takeover import take_over
from tests.tools.parked_shop import Paid, park, publish, shop_of, stop

Run = Callable[..., Any]
FAIT = Path(sys.executable).with_name("fait")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


def problems(run: Run, url: str) -> dict[str, tuple[str, str]]:
    """Detail and advice of each problem with a subscription."""
    checks = json.loads(run("doctor", "-s", url, "--json").stdout)["checks"]
    return {
        each["name"]: (each["detail"], each["advice"])
        for each in checks
        if each["status"] == "problem" and "invoice" in each["name"]
    }


async def problems_of(run: Run, url: str, name: str) -> tuple[str, str]:
    """Detail and advice of a problem, once there is one of this name."""
    async with asyncio.timeout(30):
        while True:
            found = await asyncio.to_thread(problems, run, url)
            if name in found:
                assert found.keys() == {name}
                return found[name]


async def test_event_that_is_retried_in_a_live_worker_is_named(run: Run, url: str) -> None:
    def fail(event: Paid) -> None:
        raise ValueError("no")

    app = fait.App("shop")
    app.on(Paid, name="invoice", start="beginning", on_failure=fait.FailurePolicy(initial_s=60, max_s=60))(fail)
    async with app.open(url) as s:
        await s.publish(Paid(1), stream="order-a")
        detail, advice = await problems_of(run, url, "retrying keys of invoice")

    assert detail.startswith("1, the first since ")
    assert "builtins.ValueError at " in detail
    assert "retried" in advice
    assert "fait parked show invoice --store" in advice


async def record_actions(url: str, number: int) -> None:
    store = await open_store(url, create=False)
    try:
        for _ in range(number):
            await store.failures.record_action("discard", "other", "{}", "ada", "")
    finally:
        await store.close()


def test_parked_keys_and_pause_are_named_with_their_reasons(run: Run, url: str) -> None:
    park(url, 3, a=[-1], b=[0], c=[-2])
    assert run("pause", "invoice", "--by", "ada", "--reason", "bank is closed", "-s", url).exit_code == 0
    asyncio.run(record_actions(url, MAX_ACTIONS))  # the pause is none of the last ones

    found = problems(run, url)

    assert found.keys() == {"subscription invoice", "parked keys of invoice"}
    assert found["parked keys of invoice"][0].endswith(" (2 of them)")
    assert "fait parked redrive invoice --all --store" in found["parked keys of invoice"][1]
    assert "paused by ada at " in found["subscription invoice"][0]
    assert ": bank is closed" in found["subscription invoice"][0]
    assert "fait resume invoice --store" in found["subscription invoice"][1]


def test_key_at_which_the_policy_paused_is_named_with_what_to_do(run: Run, url: str) -> None:
    stop(url, a=[-1])

    found = problems(run, url)

    assert found.keys() == {"subscription invoice", "failed keys of invoice"}
    advice = found["failed keys of invoice"][1]
    assert "Nothing is retried during the pause." in advice
    assert "fait resume invoice --store" in advice
    assert "fait skip invoice order-a --store" in advice


async def test_outage_is_named(run: Run, url: str) -> None:
    def call(event: Paid) -> None:
        raise fait.Unavailable("the bank is closed", retry_after_s=0.2)

    async with shop_of(call).open(url) as s:
        await s.publish(Paid(1), stream="order-a")
        detail, _ = await problems_of(run, url, "subscription invoice")

    assert "waits since " in detail
    assert "Unavailable at " in detail
    assert "the bank is closed" in detail


async def test_worker_that_waits_before_it_tries_again_is_named(run: Run, url: str) -> None:
    def call(event: Paid) -> None:
        raise fait.Unavailable("the bank is closed", retry_after_s=60)

    worker = f"{socket.gethostname()}:{os.getpid()}"
    async with shop_of(call).open(url, lease_s=0.4) as s:
        await s.publish(Paid(1), stream="order-a")
        await until_it_waits(s.store)
        resumed = await asyncio.to_thread(run, "resume", "invoice", "-s", url)
        outage = await problems_of(run, url, "subscription invoice")
        s._subscription_runner.groups["invoice"].run.is_reported = False  # as of an error of the store
        await forget_outage(s.store)
        detail, advice = await problems_of(run, url, "subscription invoice")
        [overview] = await read_overviews(s.store)

    assert f"workers that run invoice: {worker}, which waits after an error" in resumed.stderr
    assert "the bank is closed" in outage[0]
    assert overview.state == "waiting"
    assert f"{worker} waits after an error" in detail
    assert f"the log of {worker}" in advice


async def test_outage_of_a_worker_that_is_gone_is_not_said_to_be_retried(run: Run, url: str) -> None:
    def call(event: Paid) -> None:
        raise fait.Unavailable("the bank is closed", retry_after_s=60)

    async with shop_of(call).open(url, lease_s=0.4) as s:
        await s.publish(Paid(1), stream="order-a")
        await until_it_waits(s.store)

    detail, advice = await problems_of(run, url, "subscription invoice")
    status = json.loads((await asyncio.to_thread(run, "status", "-s", url, "--json")).stdout)

    assert (status["state"], status["error_type"]) == ("no worker", "fait.Unavailable")
    assert "no worker runs it; the last one waited since " in detail
    assert "the bank is closed" in detail
    assert "fait run --app MODULE:APP --store" in advice


async def until_it_waits(store: Store) -> None:
    """Wait until a worker has registered that it takes no range of the subscription."""
    async with asyncio.timeout(10):
        while not (await read_overviews(store))[0].waiting_workers:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.02)


async def forget_outage(store: Store) -> None:
    """Record nothing: this removes the outage."""
    registration = await store.registrations.registration("invoice")
    assert registration is not None
    async with take_over(store, registration) as [lease]:
        move = RangeMove(lease.key, lease.fencing_token, lease.revision, lease.frontier)
        assert await store.recorder.record(UnitOfWork(move)) != "refused"


def test_request_without_a_worker_is_named(run: Run, url: str) -> None:
    park(url, 1, a=[-1])
    assert run("parked", "redrive", "invoice", "--all", "--yes", "-s", url).exit_code == 0

    detail, advice = problems(run, url)["subscription invoice"]

    assert detail.endswith("no worker runs it")
    assert "fait run --app MODULE:APP --store" in advice


class Old(fait.ReadModel, key="stream", table="invoices"):
    stream: str
    amount: int

    @classmethod
    def evolve(cls, row: Self | None, event: Paid, at: fait.Envelope) -> Self | None:
        return cls(stream=at.stream, amount=event.amount)


class New(fait.ReadModel, key="stream", table="invoices"):
    stream: str
    amount: int

    @classmethod
    def evolve(cls, row: Self | None, event: Paid, at: fait.Envelope) -> Self | None:
        return cls(stream=at.stream, amount=2 * event.amount)


async def test_worker_with_another_definition_is_named(run: Run, url: str) -> None:
    old, new = fait.App("shop"), fait.App("shop")
    old.include(Old)
    new.include(New)
    async with old.open(url) as s:
        async with new.open(url, run="elsewhere", accept=["invoices"]):
            pass
        await s.publish(Paid(1), stream="order-a")
        detail, advice = await problems_of(run, url, "subscription invoices")

    assert f"the definition of {socket.gethostname()}:" in detail
    assert "fait definition diff invoices --app MODULE:APP --store" in advice
    assert "fait rebuild invoices --app MODULE:APP --store" in advice
    assert "fait definition accept invoices --app MODULE:APP --store" in advice


async def test_hanging_handler_of_a_live_worker_is_named(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._tools.cli.doctor.LEASE_DURATION_S", 0.5)
    hung = threading.Event()
    async with shop_of(lambda event: None).open(
        url, run="elsewhere", clock=ManualClock(SystemClock().now() - timedelta(minutes=5))
    ) as s:
        await s.publish(Paid(1), stream="order-a")
    try:
        async with shop_of(lambda event: hung.wait(30) and None).open(url):
            detail, advice = await problems_of(run, url, "progress of invoice")
            hung.set()
    finally:
        hung.set()

    assert "has not moved from position 0 for 0.5 s" in detail
    assert "hangs or is slow" in advice


async def test_slow_handler_that_advances_is_no_problem(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._tools.cli.doctor.LEASE_DURATION_S", 2)
    past = ManualClock(SystemClock().now() - timedelta(minutes=5))
    async with shop_of(lambda event: None).open(url, run="elsewhere", clock=past) as s:
        for number in range(200):
            await s.publish(Paid(1), stream=f"order-{number}")

    async with shop_of(lambda event: time.sleep(0.1)).open(url):
        found = await asyncio.to_thread(problems, run, url)

    assert found == {}


def test_worker_that_is_stopped_is_named(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._tools.cli.doctor.LEASE_DURATION_S", 2.5)
    asyncio.run(publish(url, a=[1]))
    command = [FAIT, "run", "--app", "tests.tools.parked_shop:shop", "--store", url]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert worker.stderr is not None
        assert "runs invoice" in worker.stderr.readline()
        worker.send_signal(19)
        result = json.loads(run("doctor", "-s", url, "--json").stdout)
    finally:
        worker.kill()
        worker.communicate()

    [silent] = [each for each in result["checks"] if each["name"].startswith("worker ")]
    assert silent["name"] == f"worker {socket.gethostname()}:{worker.pid}"
    assert "no heartbeat for 2.5 s" in silent["detail"]
    assert "It runs invoice" in silent["detail"]


def test_killed_worker_that_nothing_replaces_is_a_problem(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._tools.cli.doctor.LEASE_DURATION_S", 2.5)
    command = [FAIT, "run", "--app", "tests.tools.parked_shop:shop", "--store", url]
    asyncio.run(publish(url))
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert worker.stderr is not None
    while "invoice: live" not in worker.stderr.readline():
        pass
    worker.kill()
    worker.communicate()
    asyncio.run(publish(url, a=[1]))

    result = run("doctor", "-s", url, "--json")

    problems = [each for each in json.loads(result.stdout)["checks"] if each["status"] == "problem"]
    [problem] = [each for each in problems if each["name"].startswith(("worker ", "progress "))]
    assert problem["name"] == f"worker {socket.gethostname()}:{worker.pid}"
    assert problem["detail"].endswith("Events wait for invoice, and nothing advances")
    assert "start a worker of the app" in problem["advice"]
