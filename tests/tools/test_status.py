"""`fait status` shows from the rows of a store what runs, what lags and what fails."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import fait
from fait._store.open import open_store
from fait._store.ports.leases import RegisteredWorker, Worker
from fait._tools.cli.status import ProgressHistory, _look
from tests.relay.published import MemoryUnderTest, Noted, relay_app, until
from tests.tools.parked_shop import Paid, park, publish, shop_of, stop

Run = Callable[..., Any]
FAIT = Path(sys.executable).with_name("fait")
OWNER = f"{socket.gethostname()}:{os.getpid()}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def status_until(run: Run, url: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the status of `invoice` once it is as wanted, while this process may be a worker."""
    async with asyncio.timeout(30):
        while True:
            result = await asyncio.to_thread(run, "status", "-s", url, "--json")
            [status] = [json.loads(each) for each in result.stdout.splitlines()]
            if wanted(status):
                return status


def test_status_without_a_worker_shows_lag_in_positions_and_seconds(run: Run, url: str) -> None:
    assert run("db", "init", "-s", url).exit_code == 0
    assert "no app has registered" in run("status", "-s", url).stderr
    asyncio.run(publish(url))
    idle = json.loads(run("status", "-s", url, "--json").stdout)
    asyncio.run(publish(url, a=[1, 2]))
    time.sleep(0.1)  # the lag is rounded to tenths of a second

    lagging = json.loads(run("status", "-s", url, "--json").stdout)

    assert (idle["state"], idle["lag"], idle["lag_s"]) == ("idle", 0, 0.0)
    assert (lagging["subscription"], lagging["kind"], lagging["owners"]) == ("invoice", "reactor", [])
    assert (lagging["state"], lagging["lag"] >= 2, 0 < lagging["lag_s"] < 30) == ("no worker", True, True)


def test_age_of_a_heartbeat_begins_when_it_is_first_seen_and_former_ones_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history, started_at = ProgressHistory(), datetime(2026, 1, 1, tzinfo=UTC)
    ages = list[float]()
    for now, heartbeat in enumerate([1, 1, 2, 2, 2, 3]):
        monkeypatch.setattr(time, "monotonic", lambda now=now: 100.0 + now)
        ages.append(history.silent_s(RegisteredWorker(Worker("w"), heartbeat, started_at)))

    assert ages == [0, 1, 0, 1, 2, 0]
    assert len(history._heartbeats) == 1


def test_lag_of_a_consumer_is_unknown(run: Run, url: str) -> None:
    app = fait.App("stock")
    app.consume("orders", from_="memory:status", name="receive")(lambda event: None)

    async def register() -> None:
        async with app.open(url, run="elsewhere"):
            pass

    asyncio.run(register())
    status = json.loads(run("status", "-s", url, "--json").stdout)

    assert (status["kind"], status["lag"], status["lag_s"]) == ("consumer", None, None)
    assert run("status", "-s", url).stdout.splitlines()[1].split()[-3:] == ["0", "-", "-"]


def test_events_that_it_does_not_handle_are_no_lag(run: Run, url: str) -> None:
    async def other() -> None:
        async with fait.App("other").open(url, run="elsewhere") as s:
            await s.publish(fait.Untyped("other.done", {}), stream="other-1")

    asyncio.run(publish(url))
    asyncio.run(other())

    status = json.loads(run("status", "-s", url, "--json").stdout)
    assert (status["state"], status["lag"], status["head"] > status["position"]) == ("idle", 0, True)


def test_status_shows_parked_keys_and_the_last_error(run: Run, url: str) -> None:
    park(url, 2, a=[-1], b=[0, 1])

    status = json.loads(run("status", "-s", url, "--json").stdout)
    table = run("status", "-s", url).stdout

    assert (status["state"], status["parked"], status["retrying"], status["lag"]) == ("idle", 2, 0, 0)
    assert status["error_type"] in ("builtins.ValueError", "tests.tools.parked_shop.Unreachable")
    assert "parked_shop.py:" in status["location"]
    assert status["failing_since"]
    assert "idle, parked 2 keys" in table
    assert f"{status['error_type']} at " in table
    assert run("pause", "invoice", "--reason", "r", "-s", url).exit_code == 0
    assert "paused, parked 2 keys" in run("status", "-s", url).stdout


def test_status_of_a_subscription_paused_by_its_policy_names_the_key(run: Run, url: str) -> None:
    stop(url, a=[-1])

    status = json.loads(run("status", "-s", url, "--json").stdout)
    result = run("status", "-s", url)

    assert (status["state"], status["retrying"], status["paused_at"]) == ("paused", 1, "order-a")
    assert "paused, failed 1 key" in result.stdout
    assert "invoice is paused at a failed event of the key 'order-a'." in result.stderr
    assert "run: fait resume invoice. To give up" in result.stderr
    assert "fait skip invoice order-a" in result.stderr


async def test_status_shows_owner_and_retrying_keys_of_a_live_worker(run: Run, url: str) -> None:
    def fail(event: Paid) -> None:
        raise ValueError("no")

    app = fait.App("shop")
    app.on(Paid, name="invoice", start="beginning", on_failure=fait.FailurePolicy(initial_s=60, max_s=60))(fail)
    async with app.open(url) as s:
        await s.publish(Paid(1), stream="order-a")
        status = await status_until(run, url, lambda each: each["retrying"] == 1)

    assert (status["state"], status["owners"], status["error_type"]) == ("live", [OWNER], "builtins.ValueError")


async def test_key_whose_later_events_follow_a_retry_is_shown_as_retrying(run: Run, url: str) -> None:
    failed, repaired = list[int](), asyncio.Event()

    async def fail_once(event: Paid) -> None:
        if event.amount == 1 and not failed:
            failed.append(1)
            raise ValueError("no")
        if event.amount == 2:
            await repaired.wait()

    app = fait.App("shop")
    app.on(Paid, name="invoice", start="beginning", on_failure=fait.FailurePolicy(initial_s=0.5))(fail_once)
    async with app.open(url) as s, asyncio.timeout(30):
        for amount in (1, 2, 3):
            await s.publish(Paid(amount), stream="order-a")
        while [each.state for each in await s.store.failures.failures()] != ["redriving"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        status, listed, shown = [
            json.loads((await asyncio.to_thread(run, *command, "-s", url, "--json")).stdout)
            for command in (("status",), ("parked", "list"), ("parked", "show", "invoice", "order-a"))
        ]
        [own] = await s.status()
        repaired.set()

    assert (status["retrying"], status["redriving"], own.retrying) == (1, 0, 1)
    assert (listed["state"], shown["state"]) == ("retrying", "retrying")


async def test_status_shows_an_outage_until_it_ends(run: Run, url: str) -> None:
    closed = True

    def call(event: Paid) -> None:
        if closed:
            raise fait.Unavailable("password=hunter2 the bank is closed", retry_after_s=0.05)

    async with shop_of(call).open(url, lease_s=1) as s:
        result = await s.publish(Paid(1), stream="order-a")
        status = await status_until(run, url, lambda each: each["state"] == "waiting")
        closed = False
        await s.wait(result, timeout_s=30)
        await status_until(run, url, lambda each: each["state"] == "live")

    assert (status["error_type"], status["parked"], status["lag"] > 0) == ("fait.Unavailable", 0, True)
    assert status["failing_since"]
    assert "in call" not in status["owners"]


async def test_status_names_the_log_of_a_worker_whose_error_is_not_stored(run: Run, url: str) -> None:
    async with shop_of(print).open(url, run="elsewhere") as s:
        await s.store.leases.heartbeat(Worker("w", app="shop", host="vm", pid=7, runs={"invoice": None}))

        status = json.loads((await asyncio.to_thread(run, "status", "-s", url, "--json")).stdout)
        table = (await asyncio.to_thread(run, "status", "-s", url)).stdout

    assert (status["state"], status["waiting_workers"], status["error_type"]) == ("waiting", ["vm:7"], None)
    assert table.rstrip().endswith("in the log of vm:7")


async def test_error_without_a_place_is_shown_without_one(run: Run, url: str) -> None:
    broker = MemoryUnderTest(f"memory:{uuid4().hex}")
    await broker.prepare()
    async with broker.limited(), relay_app(broker.url).open(url) as s:
        await s.publish(Noted("x" * broker.limited_bytes), stream="note-1")
        await until(s.store.failures.failures)

    for command in ("status", "doctor"):
        shown = (await asyncio.to_thread(run, command, "-s", url)).stdout
        assert "fait.MessageRefused" in shown
        assert "fait.MessageRefused at" not in shown


def test_watch_shows_rate_and_ends_with_ctrl_c(url: str, tmp_path: Path) -> None:
    asyncio.run(publish(url, a=[1]))
    command = [FAIT, "status", "--watch", "--interval", "0.2", "--json", "-s", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        first = json.loads(watch.stdout.readline())
        park(url, 0, b=[1, 2, 3])
        rates = [json.loads(watch.stdout.readline())["rate"] for _ in range(10)]
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=20)

    assert first["rate"] is None
    assert watch.returncode == 130
    assert all(each is not None and each >= 0 for each in rates)


def test_worker_that_is_stopped_has_no_heartbeat(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fait._tools.cli.status.LEASE_DURATION_S", 0.3)
    asyncio.run(publish(url, a=[1]))
    command = [FAIT, "run", "--app", "tests.tools.parked_shop:shop", "--store", url]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        asyncio.run(status_until(run, url, lambda each: each["state"] == "live"))
        worker.send_signal(signal.SIGSTOP)
        lines = asyncio.run(watched(url))
    finally:
        worker.kill()
        worker.communicate()

    assert [each["owners"] for each in lines] == [[f"{socket.gethostname()}:{worker.pid}"]] * len(lines)
    assert lines[-1]["state"] == "no heartbeat"


async def watched(url: str) -> list[dict[str, Any]]:
    """Return what `fait status` shows twice, with a pause."""
    store, history = await open_store(url, create=False), ProgressHistory()
    shown = list[dict[str, Any]]()
    for _ in range(2):
        shown += await _look(store, history)
        await asyncio.sleep(0.5)
    await store.close()
    return shown
