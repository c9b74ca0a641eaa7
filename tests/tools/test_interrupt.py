"""An import can be killed or interrupted at any time; the next run completes it exactly."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

LINES = 20_000
FAIT = (sys.executable, "-c", "from fait._tools.cli.main import run; run()")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interrupt") / "events.jsonl"
    with path.open("w") as out:
        for n in range(LINES):
            line = {"stream": f"case-{n * 7 % 97}", "type": "t", "time": "2024-01-01T00:00:00Z", "data": {"n": n}}
            out.write(json.dumps(line, separators=(",", ":")) + "\n")
    return path


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [*FAIT, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def running(file: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """An import that has stored a part of the file."""
    process = start("import", file, "-s", f"sqlite:///{tmp_path}/events.db", "--batch-size", 100)
    while stored(tmp_path / "events.db") < 1000:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    with process:
        yield process


def stored(path: Path) -> int:
    try:
        connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        return connection.execute("SELECT count(*) FROM fait_events").get  # type: ignore[no-any-return]
    except (apsw.CantOpenError, apsw.SQLError):  # not created yet
        return 0


def assert_import_continues(run: Callable[..., Any], store: str, path: Path, file: Path) -> None:
    before = stored(path)
    assert 0 < before < LINES
    assert file.read_bytes().startswith(run("export", "-s", store).stdout_bytes)

    result = run("import", file, "-s", store, "--json")

    assert result.exit_code == 0, result.stderr
    assert (json.loads(result.stdout)["written"], json.loads(result.stdout)["already_stored"]) == (
        LINES - before,
        before,
    )
    assert run("export", "-s", store).stdout_bytes == file.read_bytes()


def test_killed_import_continues(
    run: Callable[..., Any], store: str, tmp_path: Path, file: Path, running: subprocess.Popen[str]
) -> None:
    running.kill()
    running.communicate()

    assert_import_continues(run, store, tmp_path / "events.db", file)


def test_ctrl_c_ends_the_import_after_the_batch(
    run: Callable[..., Any], store: str, tmp_path: Path, file: Path, running: subprocess.Popen[str]
) -> None:
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate()

    assert running.returncode == 130
    assert f"The first {stored(tmp_path / 'events.db'):,} events of the file are stored" in stderr
    assert "To continue, run the same command again." in stderr
    assert "Traceback" not in stderr
    assert_import_continues(run, store, tmp_path / "events.db", file)


def test_concurrent_imports_of_one_file_store_it_once(
    run: Callable[..., Any], store: str, file: Path, running: subprocess.Popen[str]
) -> None:
    other = run("import", file, "-s", store, "--json")
    running.communicate()

    assert (other.exit_code, running.returncode) == (0, 0)
    assert run("export", "-s", store).stdout_bytes == file.read_bytes()


def test_tail_prints_new_events_until_ctrl_c(run: Callable[..., Any], store: str, jsonl: Callable[..., Path]) -> None:
    line = {"stream": "case-1", "type": "t", "time": "2024-01-01T00:00:00Z", "data": {"n": 1}}
    run("import", jsonl([line]), "-s", store)
    with start("tail", "-s", store, "--from-start", "--json", "--type", "t") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        run("import", jsonl([line, {**line, "type": "other"}, {**line, "data": {"n": 2}}]), "-s", store)
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()

    assert (first["data"], second["data"], second["position"]) == ({"n": 1}, {"n": 2}, 3)
    assert (process.returncode, stdout, stderr) == (130, "", "")


def test_closed_pipe_prints_no_error(run: Callable[..., Any], store: str, file: Path) -> None:
    run("import", file, "-s", store)
    with start("export", "-s", store) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
