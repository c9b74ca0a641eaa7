"""An import can be killed or interrupted at any time; the next run completes it exactly."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import psutil
import pytest

from tests.tools.processes import interrupt_read

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


REBUILT = """
import fait

app = fait.App("interrupt")


@fait.event("t")
class Happened:
    n: int


class Cases(fait.ReadModel, key="case", table="cases"):
    case: str
    n: int

    @classmethod
    def evolve(cls, row: "Cases | None", event: Happened, at: fait.Envelope) -> "Cases":
        return cls(case=at.stream_id, n=row.n + 1 if row else 1)


app.include(Cases)
"""


def position_of_cases(path: Path) -> int:
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5000)
    return connection.execute("SELECT coalesce(max(position), 0) FROM fait_ranges").get  # type: ignore[no-any-return]


def has_opened(process: subprocess.Popen[str], path: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(file.path == str(path) for file in psutil.Process(process.pid).open_files())
    return False  # it has ended


def test_ctrl_c_during_a_rebuild_leaves_a_table_that_the_next_one_completes(
    run: Callable[..., Any], store: str, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("import", file, "-s", store)
    (tmp_path / "rebuilt.py").write_text(REBUILT)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    rebuild = ("rebuild", "cases", "--app", "rebuilt:app", "-s", store)
    with start(*rebuild) as process:
        while not position_of_cases(tmp_path / "events.db"):
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    stopped_at = position_of_cases(tmp_path / "events.db")
    with start(*rebuild) as again:
        again.communicate()

    assert (process.returncode, stdout, 0 < stopped_at < LINES) == (130, "", True)
    assert "fait: the rebuild of cases was interrupted; its table is incomplete. Run the same command again" in stderr
    assert "Traceback" not in stderr
    assert again.returncode == 0
    connection = apsw.Connection(str(tmp_path / "events.db"))
    assert connection.execute("SELECT sum(n) FROM cases").get == LINES


@pytest.mark.parametrize("command", ["doctor", "export"])
def test_ctrl_c_during_a_command_that_reads_changes_nothing(
    run: Callable[..., Any], store: str, tmp_path: Path, file: Path, command: str
) -> None:
    run("import", file, "-s", store)
    with start(command, "-s", store) as process:
        while process.poll() is None and not has_opened(process, tmp_path / "events.db"):
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()

    assert process.returncode in (0, 130)
    assert "Traceback" not in stderr
    assert stored(tmp_path / "events.db") == LINES
    assert run("doctor", "-s", store).exit_code == 0


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


@pytest.fixture
def changed_app(
    run: Callable[..., Any], store: str, tmp_path: Path, jsonl: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store with a read model that is defined otherwise now, in the module `rebuilt`."""
    run(
        "import",
        jsonl([{"stream": "case-1", "type": "t", "time": "2024-01-01T00:00:00Z", "data": {"n": 1}}]),
        "-s",
        store,
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("FAIT_STORE", store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rebuilt.py").write_text(REBUILT)
    with start("rebuild", "cases", "--app", "rebuilt:app") as process:
        assert "rebuilt cases" in process.communicate()[0]
    # Of another size: Python compares the size and the second of a file with those of its compiled form.
    (tmp_path / "rebuilt.py").write_text(REBUILT.replace("row.n + 1", "row.n + 20"))


@pytest.mark.parametrize(
    ("command", "question"),
    [
        (("definition", "accept", "cases", "--app", "rebuilt:app"), "Accept the definition? [y/N]"),
        (("log", "adopt", "--in-place"), "Start the new epoch? [y/N]"),
        (("advise",), "  1  "),
    ],
)
def test_ctrl_c_at_a_question_ends_the_command(changed_app: None, command: tuple[str, ...], question: str) -> None:
    terminal, stdin = pty.openpty()
    with (
        os.fdopen(terminal),
        os.fdopen(stdin),
        subprocess.Popen(
            [*FAIT, *command], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        while question not in (line := process.stdout.readline()):
            assert line, process.wait()
        interrupt_read(process, signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=10)
        finally:
            process.kill()

    assert process.returncode == 130
    assert "Traceback" not in output


@pytest.mark.parametrize("command", [("advise", "--text", "-"), ("design", "--advice", "-")])
def test_ctrl_c_ends_a_command_that_reads_standard_input(command: tuple[str, ...]) -> None:
    with subprocess.Popen([*FAIT, *command], stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        process.stdin.write(b"{")
        while unread_bytes(process.stdin.fileno()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        interrupt_read(process, signal.SIGINT)
        assert process.wait(10) == 130


def unread_bytes(pipe: int) -> int:
    """The number of bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
