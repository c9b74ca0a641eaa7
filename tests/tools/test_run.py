"""`fait run`: a worker that is started, says what it does, and ends when it is told to."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import fait
from fait._tools.cli import main

APP = """
import fait

bell = fait.App("bell")

@fait.event("bell.rung")
class Rung:
    times: int

@bell.on(Rung, start="beginning")
async def count(event: Rung) -> None:
    with open("heard", "a") as file:
        file.write("x" * event.times)

@bell.on(Rung, start="beginning", name="broken")
async def broken(event: Rung) -> None:
    raise ValueError("no clapper")
"""
FAIT = Path(sys.executable).with_name("fait")


async def rung(url: str, times: int) -> None:
    async with fait.App("bell").open(url, run="elsewhere") as s:
        await s.publish(fait.Untyped("bell.rung", {"times": times}), stream="bell-1")


def started(folder: Path, url: str) -> subprocess.Popen[str]:
    command = [FAIT, "run", "--app", "bells:bell", "--store", url, "--json"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(worker: subprocess.Popen[str], word: str) -> list[str]:
    """What a worker says, up to a line with a word."""
    assert worker.stdout is not None
    said: list[str] = []
    for line in worker.stdout:
        said.append(line)
        if word in line:
            break
    return said


async def heard(folder: Path, times: int) -> None:
    async with asyncio.timeout(30):
        while not (folder / "heard").exists() or len((folder / "heard").read_text()) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_worker_handles_events_says_what_it_does_and_stops_when_told(
    tmp_path: Path, store_url: Callable[[str], str], backend: str, number: signal.Signals
) -> None:
    url = store_url(backend)
    (tmp_path / "bells.py").write_text(APP)
    await rung(url, 2)
    worker = started(tmp_path, url)
    try:
        await heard(tmp_path, 2)
        await rung(url, 3)
        await heard(tmp_path, 5)
        said = await asyncio.wait_for(asyncio.to_thread(until, worker, "no clapper"), 20)
        worker.send_signal(number)
        rest, problems = await asyncio.to_thread(worker.communicate, timeout=20)
    finally:
        worker.kill()

    assert worker.returncode == 0, problems
    told = [json.loads(line) for line in (*said, *rest.splitlines())]
    assert {each["subscription"] for each in told} == {"count", "broken"}
    assert any("no clapper" in (each["problem"] or "") for each in told if each["subscription"] == "broken")
    assert "finishing the events in hand" in problems


async def test_ctrl_c_while_the_store_does_not_answer_ends_the_start_quietly(tmp_path: Path) -> None:
    (tmp_path / "bells.py").write_text(APP)
    asked = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # all that comes, until the worker goes away
        writer.close()

    mute = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    worker = started(tmp_path, f"postgresql://somebody@127.0.0.1:{mute.sockets[0].getsockname()[1]}/bells")
    try:
        await asyncio.wait_for(asked.wait(), 20)
        worker.send_signal(signal.SIGINT)
        said = await asyncio.to_thread(worker.communicate, timeout=5)
    finally:
        worker.kill()
        mute.close()
        await mute.wait_closed()

    assert (worker.returncode, *said) == (130, "", "")


def test_ctrl_c_while_the_app_is_imported_ends_the_start_quietly(tmp_path: Path) -> None:
    (tmp_path / "bells.py").write_text('print("here", flush=True)\nimport time\ntime.sleep(0.5)\n' + APP)
    worker = started(tmp_path, f"sqlite:///{tmp_path}/none.db")
    try:
        until(worker, "here")
        worker.send_signal(signal.SIGINT)
        _, problems = worker.communicate(timeout=20)
    finally:
        worker.kill()

    assert (worker.returncode, problems) == (130, "")


def test_ctrl_c_while_the_command_itself_is_imported_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "fait._tools.cli.commands", SimpleNamespace(fait=interrupted))

    with pytest.raises(SystemExit) as ended:
        main.run()

    assert ended.value.code == 130


def test_an_app_or_a_store_that_is_not_there_ends_it_with_2(tmp_path: Path) -> None:
    command = [FAIT, "run", "--app", "nowhere:bell", "--store", f"sqlite:///{tmp_path}/none.db"]

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "there is no module 'nowhere'" in ended.stderr
