"""An import is killed (-9) at random times and repeated until it completes: the log equals the file, line by line."""

import asyncio
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import cast

import apsw
import pytest

from fait._store.open import open_store
from fait._store.sqlite.store import SqliteStore
from tests.crash.consistency import consistent

KILLS, WORKERS = 16, 2
LINES = 2_000
COMMAND = [sys.executable, "-c", "from fait._tools.cli.main import run; run()"]


@pytest.mark.timeout(300)
def test_import_killed_at_random_times_stores_the_whole_file(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance, file = random.Random(seed), tmp_path / "facts.jsonl"
    file.write_text("".join(_line(chance, number) for number in range(LINES)))
    workers = [_Worker(file, tmp_path / f"{number}", random.Random(seed + number)) for number in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        stored = [each for found in pool.map(lambda worker: worker.run(KILLS // WORKERS), workers) for each in found]
    print("stored when killed:", sorted(stored))
    assert len(stored) == KILLS
    assert sum(0 < each < LINES for each in stored) > KILLS // 4


def _line(chance: random.Random, number: int) -> str:
    line = {
        "stream": f"case-{min(chance.randrange(200), chance.randrange(200))}",
        "type": chance.choice(["received", "sent"]),
        "time": f"2024-01-15T12:{number // 60 % 60:02}:{number % 60:02}+01:00",
        "tags": [f"item:{each}" for each in sorted(chance.sample(range(50), chance.randrange(1, 4)))],
        "data": {"number": number, "text": "x" * chance.randrange(300)},
    }
    return json.dumps(line, separators=(",", ":")) + "\n"


class _Worker:
    """Imports the file into one new store after another; for each, kills all processes but the last."""

    def __init__(self, file: Path, directory: Path, chance: random.Random) -> None:
        directory.mkdir()
        self._file, self._directory, self._chance = file, directory, chance

    def run(self, kills: int) -> list[int]:
        """Return the number of events stored after each kill."""
        stored: list[int] = []
        for number in count():
            path = self._directory / f"{number}.db"
            while (alive := self._import(path, kill=len(stored) < kills)) is None:
                stored.append(_head(path))
            assert alive == 0
            self._check(path)
            if len(stored) == kills:
                return stored
        raise AssertionError

    def _import(self, path: Path, *, kill: bool) -> int | None:
        """The exit code; None if the process was killed."""
        command = [*COMMAND, "import", str(self._file), "-s", f"sqlite:///{path}", "--batch-size", "50"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            if kill and _head(path) < LINES and self._is_alive_at_a_random_moment(process, path):
                process.kill()
                return None
            _, errors = process.communicate()
            assert process.returncode == 0, errors
            return process.returncode

    def _is_alive_at_a_random_moment(self, process: subprocess.Popen[bytes], path: Path) -> bool:
        """Wait until about a random line: a random time would mostly hit the start of the process."""
        stored = _head(path)
        line = min(LINES, self._chance.randrange(stored, stored + 500)) if self._chance.random() < 0.9 else 0
        while process.poll() is None and _head(path) < line:
            time.sleep(0.01)
        time.sleep(self._chance.uniform(0, 0.01 if line else 0.5))
        return process.poll() is None

    def _check(self, path: Path) -> None:
        lines = self._file.read_bytes().splitlines()
        assert asyncio.run(_numbers(path)) == list(range(LINES))
        export = subprocess.run([*COMMAND, "export", "-s", f"sqlite:///{path}"], capture_output=True, check=True)
        assert export.stdout.splitlines() == lines


async def _numbers(path: Path) -> list[int]:
    store = cast("SqliteStore", await open_store(f"sqlite:///{path}"))
    try:
        events, _ = await consistent(store, path)
        return [json.loads(each.data)["number"] for each in events]
    finally:
        await store.close()


def _head(path: Path) -> int:
    """The number of stored events, read without recovery or a checkpoint, which would repair a crash."""
    if not path.exists():
        return 0
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute("SELECT count(*) FROM fait_events").get
    except (apsw.SQLError, apsw.BusyError, apsw.CantOpenError):  # it is being created
        return 0
    finally:
        connection.close()
