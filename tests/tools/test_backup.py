"""`fait backup` copies a store in use, with the events in its WAL, or creates nothing."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fait._errors import StoreUnavailable
from fait._store.open import open_store
from fait._store.sqlite import backup as sqlite_backup
from fait.testing.contract.store import added, everything, write
from tests.crash.counting import Counter, counting_app

Run = Callable[..., Any]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "copy.db"


@pytest.fixture(autouse=True)
def _folder(target: Path) -> None:
    target.parent.mkdir()


def append(url: str, events: int) -> None:
    async def run() -> None:
        store = await open_store(url)
        await added(store.log, write("a", events))
        await store.close()

    asyncio.run(run())


def ids(url: str) -> list[str]:
    async def run() -> list[str]:
        store = await open_store(url, create=False)
        events = await everything(store.log)
        await store.close()
        return [event.id for event in events]

    return asyncio.run(run())


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


WRITER = """
import asyncio, sys
from fait._store.open import open_store
from fait.testing.contract.store import new, write

async def main():
    store = await open_store(sys.argv[1])
    await store.log.append([write("a", 2000)])
    print("ready", flush=True)
    while True:
        await store.log.append([write("b")])

asyncio.run(main())
"""


def test_backup_of_a_store_in_use_has_all_events_up_to_its_position(run: Run, store: str, target: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, store], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        result = run("backup", target, "-s", store, "--json")
        copy_of_file = target.with_name("cp.db")
        shutil.copy(store.removeprefix("sqlite:///"), copy_of_file)
    finally:
        writer.kill()
        writer.communicate()

    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    copied = ids(f"sqlite:///{target}")
    assert len(copied) == summary["position"] >= 2000
    assert copied == ids(store)[: len(copied)]
    assert files(target.parent) == ["copy.db", "cp.db"]
    assert summary["bytes"] == target.stat().st_size


def test_backup_prints_its_size_and_position(run: Run, store: str, target: Path) -> None:
    append(store, 7)

    result = run("backup", target, "-s", store)

    assert result.exit_code == 0
    copied, advice = result.stdout.splitlines()
    assert copied.endswith(f"copy.db: {target.stat().st_size:,} bytes, up to position 7")
    assert "fait log adopt" in advice
    assert run("doctor", "-s", f"sqlite:///{target}").exit_code == 0


def test_copy_has_no_workers_and_no_leases(run: Run, store: str, target: Path) -> None:
    async def work() -> None:
        async with counting_app().open(store) as system:
            await system.wait(await system.transact(Counter.count, "a", 1))
            backup = await asyncio.to_thread(run, "backup", str(target), "-s", store)
            assert backup.exit_code == 0, backup.output
        async with counting_app().open(f"sqlite:///{target}", lease_s=60) as system:
            await system.wait(await system.transact(Counter.count, "a", 1), timeout_s=20)

    asyncio.run(work())


@pytest.mark.parametrize("kind", ["file", "folder", "broken link"])
def test_backup_replaces_no_existing_file(run: Run, store: str, target: Path, kind: str) -> None:
    append(store, 1)
    if kind == "file":
        target.write_text("mine")
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to("nowhere")

    result = run("backup", target, "-s", store)

    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{target} exists. Nothing was written." in result.stderr
    assert files(target.parent) == ["copy.db"]
    assert kind != "file" or target.read_text() == "mine"


def test_backup_of_a_missing_store_creates_nothing(run: Run, store: str, target: Path) -> None:
    result = run("backup", target, "-s", store)

    assert (result.exit_code, "there is no store at" in result.stderr) == (2, True)
    assert files(target.parent) == []


def test_backup_into_a_missing_folder_is_an_error(run: Run, store: str, target: Path) -> None:
    append(store, 1)

    result = run("backup", target.parent / "none" / "copy.db", "-s", store)

    assert (result.exit_code, "cannot be written (No such file or directory)" in result.stderr) == (1, True)


@pytest.mark.parametrize(("url", "advice"), [("postgresql://host/shop", "pg_dump"), ("memory:", "SQLite")])
def test_backup_of_another_backend_is_refused(run: Run, target: Path, url: str, advice: str) -> None:
    result = run("backup", target, "-s", url)

    assert (result.exit_code, advice in result.stderr, files(target.parent)) == (2, True, [])


def test_damaged_copy_is_not_published(run: Run, store: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(store, 500)
    copy = sqlite_backup._copy  # pyright: ignore[reportPrivateUsage]

    def copy_badly(*arguments: Any) -> None:
        copy(*arguments)
        with open(arguments[1], "rb+") as file:
            file.seek(3 * 4096)
            file.write(b"\x55" * 8192)

    monkeypatch.setattr(sqlite_backup, "_copy", copy_badly)

    result = run("backup", target, "-s", store)

    assert result.exit_code == 1
    assert files(target.parent) == []


def test_interrupted_backup_creates_nothing(store: str, target: Path) -> None:
    append(store, 3000)
    program = (
        "import time\nfrom fait._store.sqlite import backup\nbackup.PAGES_PER_STEP = 1\n"
        "from fait._tools.cli import main\n"
        "step = backup._copy\n"
        "def slow(source, target, on_progress, canceled):\n"
        "    def report(*values):\n        print('step', flush=True); time.sleep(0.01)\n"
        "    step(source, target, report, canceled)\n"
        "backup._copy = slow\nmain.run()"
    )
    command = [sys.executable, "-c", program, "backup", str(target), "-s", store]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "step\n"
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)

    assert running.returncode == 130
    assert errors == f"fait: the backup was interrupted. {target} was not created.\n"
    assert files(target.parent) == []


def test_backup_removes_partial_copies_of_killed_backups_and_says_so(store: str, target: Path) -> None:
    append(store, 3000)
    program = (
        "import os, signal\nfrom fait._store.sqlite import backup\nbackup.PAGES_PER_STEP = 1\n"
        "from fait._tools.cli import main\n"
        "copy = backup._copy\n"
        "backup._copy = lambda source, target, on_progress, canceled: copy(\n"
        "    source, target, lambda *_: os.kill(os.getpid(), signal.SIGKILL), canceled)\n"
        "main.run()"
    )
    killed = subprocess.run([sys.executable, "-c", program, "backup", str(target), "-s", store], check=False)
    [left, *_] = files(target.parent)
    kept = [f"copy.db.partial-{os.getpid()}", f"other.db.{left.partition('.db.')[2]}", "copy.db.partial-old"]
    for name in kept:
        target.with_name(name).touch()

    command = [sys.executable, "-c", "from fait._tools.cli import main; main.run()", "backup", str(target), "-s", store]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (killed.returncode, done.returncode) == (-signal.SIGKILL, 0)
    assert files(target.parent) == sorted(["copy.db", *kept])
    assert f"removed {target.parent / left}: the process of that backup no longer runs" in done.stderr


def test_backup_replaces_the_partial_copy_of_a_process_with_its_id(run: Run, store: str, target: Path) -> None:
    append(store, 1)
    target.with_name(f"copy.db.partial-{os.getpid()}").write_text("killed")

    assert run("backup", target, "-s", store).exit_code == 0
    assert files(target.parent) == ["copy.db"]


def test_file_that_appears_during_the_backup_is_not_replaced(store: str, tmp_path: Path, target: Path) -> None:
    append(store, 1)

    def appear(*_: int) -> None:
        target.write_text("mine")

    with pytest.raises(Exception, match="exists"):
        sqlite_backup.back_up(store.removeprefix("sqlite:///"), str(target), appear, threading.Event())

    assert (target.read_text(), files(target.parent)) == ("mine", ["copy.db"])


def test_canceled_backup_raises_and_creates_nothing(store: str, target: Path) -> None:
    append(store, 1)
    canceled = threading.Event()
    canceled.set()

    with pytest.raises(StoreUnavailable, match="was canceled"):
        sqlite_backup.back_up(store.removeprefix("sqlite:///"), str(target), lambda *_: None, canceled)

    assert files(target.parent) == []


async def copy_without_wal(url: str, target: Path) -> None:
    store = await open_store(url)
    await added(store.log, write("a", 10))
    await asyncio.to_thread(shutil.copy, url.removeprefix("sqlite:///"), target)
    await store.close()


def test_doctor_mentions_that_an_empty_log_may_be_a_copy_without_its_wal(run: Run, store: str, target: Path) -> None:
    asyncio.run(copy_without_wal(store, target))

    checks = [json.loads(run("doctor", "-s", url, "--json").stdout)["checks"] for url in (f"sqlite:///{target}", store)]

    copied, original = ({each["name"]: each for each in every}["log"] for every in checks)
    assert (copied["status"], "without its WAL" in copied["detail"]) == ("unknown", True)
    assert (original["status"], original["detail"]) == ("ok", "the last event has position 10")
