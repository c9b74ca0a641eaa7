"""`fait rewind`: shows what would be changed, asks, changes it, and records who did it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import fait
from fait._store.sqlite.recorder import SqliteRecorder
from tests.relay.published import Counted, MemoryUnderTest, append
from tests.tools.relayed_shop import app

Run = Callable[..., Any]
APP = ("--app", "tests.tools.relayed_shop:app")


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryUnderTest:
    tested = MemoryUnderTest(f"memory:{uuid4().hex}")
    monkeypatch.setenv("SHOP_BROKER", tested.url)
    return tested


async def lose_five(store: str, broker: MemoryUnderTest, folder: Path) -> None:
    """Publish ten events, of which the broker loses the last five."""
    await broker.prepare()
    for start in (0, 5):
        async with app.open(store) as s:
            await append(s, 5, start=start)
            await s.wait(timeout_s=30)
            await asyncio.wait_for(until_counted(s, start + 5), 30)
        if not start:
            broker.save(folder)
    broker.lose(folder)


async def until_counted(system: Any, count: int) -> None:
    while (await system.store.leases.ranges("count"))[0].position < count:  # noqa: ASYNC110 - nothing signals it
        await asyncio.sleep(0.01)


def test_relay_is_rewound_after_a_typed_confirmation_which_is_recorded(
    run: Run, store: str, broker: MemoryUnderTest, tmp_path: Path
) -> None:
    asyncio.run(lose_five(store, broker, tmp_path))
    call = ("rewind", "relay-orders", *APP, "-s", store)

    planned = run(*call, "--dry-run", "--json")
    wrong = run(*call, input="2\n")
    done = run(*call, "--by", "bob", "--reason", "failover", input="1\n")
    again = run(*call, "--yes")

    plan = json.loads(planned.stdout)
    assert (plan["position"], plan["start"]) == (5, 0)
    assert "Nothing was changed" in planned.stderr
    assert (wrong.exit_code, "canceled" in wrong.stderr) == (1, True)
    assert "no event from before it began to publish" in done.stderr
    assert (done.exit_code, "Type 1 to rewind 1 range of relay-orders" in done.stderr) == (0, True)
    assert (again.exit_code, "0 ranges. Nothing was changed" in again.stderr) == (0, True)
    [action] = [json.loads(line) for line in run("actions", "-s", store, "--json").stdout.splitlines()]
    assert (action["action"], action["subscription"], action["by"], action["reason"]) == (
        "rewind", "relay-orders", "bob", "failover",
    )  # fmt: skip
    assert json.loads(action["details"])["changes"][0]["checkpoint"] == 10


def test_consumer_is_rewound(run: Run, store: str, broker: MemoryUnderTest, tmp_path: Path) -> None:
    asyncio.run(lose_five(store, broker, tmp_path))
    call = ("rewind", "count", *APP, "-s", store, "--yes")

    done, again = run(*call), run(*call)

    assert (done.exit_code, "rewound: count" in done.stderr) == (0, True)
    assert "0 lanes. Nothing was changed" in again.stderr


@pytest.mark.parametrize("name", ["relay-orders", "count"])
def test_rewind_is_recorded_before_it_changes_anything(
    run: Run, store: str, broker: MemoryUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def die(*arguments: Any) -> None:
        raise OSError("the machine lost its power")

    asyncio.run(lose_five(store, broker, tmp_path))
    monkeypatch.setattr(SqliteRecorder, "record", die)
    failed = run("rewind", name, *APP, "-s", store, "--yes", "--by", "bob")

    assert (failed.exit_code, "lost its power" in failed.stderr) == (1, True)
    [action] = [json.loads(line) for line in run("actions", "-s", store, "--json").stdout.splitlines()]
    assert (action["action"], action["subscription"], action["by"]) == ("rewind", name, "bob")
    assert json.loads(action["details"])["changes"]


def test_paused_subscription_is_refused_before_the_question(
    run: Run, store: str, broker: MemoryUnderTest, tmp_path: Path
) -> None:
    asyncio.run(lose_five(store, broker, tmp_path))
    assert run("pause", "count", "--reason", "r", "-s", store).exit_code == 0

    result = run("rewind", "count", *APP, "-s", store, "--yes")

    assert "is paused. Nothing was changed. Run fait resume count before." in result.stderr
    assert [json.loads(each)["action"] for each in run("actions", "-s", store, "--json").stdout.splitlines()] == [
        "pause"
    ]


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("unknown", (), "no subscription 'unknown'"),
        ("count", ("--accept-loss",), "--accept-loss is for relays"),
        ("notify", (), "'notify' is a reactor, and only relays and consumers are rewound"),
        ("relay-other", (), "--app must name the app 'other', which has the relay 'relay-other'"),
    ],
)
def test_other_subscription_is_refused(
    run: Run, store: str, broker: MemoryUnderTest, tmp_path: Path, name: str, options: tuple[str, ...], reason: str
) -> None:
    asyncio.run(lose_five(store, broker, tmp_path))
    asyncio.run(register_other(store, broker))

    result = run("rewind", name, *APP, "-s", store, *options)

    assert result.exit_code != 0
    assert "Nothing was changed" in result.stderr
    assert reason in result.stderr


async def register_other(store: str, broker: MemoryUnderTest) -> None:
    other = fait.App("other")
    other.on(Counted, name="notify")(print)
    other.relay(Counted, to=broker.url, topic="orders", name="relay-other")
    async with other.open(store, run="elsewhere"):
        pass
