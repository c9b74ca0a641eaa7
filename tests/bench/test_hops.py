"""The count of functions that a command and a delivery enter: a run in memory."""

import asyncio
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(BENCH), str(ROOT)])}


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "hops", "--store", "memory:", "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_command_is_split_at_append(result: dict[str, Any]) -> None:
    command = result["journeys"]["memory"]["command"]

    assert command["list"][command["before_append"]].endswith("MemoryLog.append")
    assert command["before_append"] + command["from_append"] == command["functions"] == len(set(command["list"]))
    assert command["calls"] >= command["functions"] >= command["files"] > 0


def test_delivery_begins_with_read_and_ends_with_checkpoint(result: dict[str, Any]) -> None:
    delivery = result["journeys"]["memory"]["delivery"]

    assert delivery["list"][0].endswith("LaneWorker._read")
    assert any(name.endswith("MemoryRecorder.record") for name in delivery["list"])
    assert not any(name.endswith(("MemoryLog.append", "Client.transact")) for name in delivery["list"])


def test_resumed_coroutine_is_not_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    hops, entered = importlib.import_module("hops"), list[bool]()

    async def pause_twice() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code is pause_twice.__code__:
            entered.append(hops.is_resumed(frame))

    sys.setprofile(note)
    try:
        asyncio.run(pause_twice())
    finally:
        sys.setprofile(None)

    assert entered == [False, True, True]


def test_tables_and_lists_have_every_journey(result: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    hops = importlib.import_module("hops")

    table, lists = hops.markdown(result), list(hops.listing(result))

    assert [row.split(" | ")[:2] for row in table.splitlines()[2:4]] == [
        ["| command", "memory"],
        ["| delivery", "memory"],
    ]
    assert sum("Log.append" in line and "──" in line for line in lists) == 1
    assert result["size"]["functions"] > 0
