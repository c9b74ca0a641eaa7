"""`fait run` handles events, reports the status of its subscriptions, and stops on a signal."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

import fait
from fait._store.open import open_store
from fait._store.overview import ObservedState
from fait._store.ports.tables import Column, Table
from fait._tools.cli import main
from fait._tools.cli.operator import operator_name
from fait._tools.cli.run import report_changes

APP = """
import fait

bell = fait.App("bell")

@fait.event("bell.rung")
class Rung:
    times: int

@bell.on(Rung, start="beginning")
async def count(event: Rung) -> None:
    with open("handled", "a") as file:
        file.write("x" * event.times)

@bell.on(Rung, start="beginning", name="broken")
async def broken(event: Rung) -> None:
    raise ValueError("no clapper")
"""
FAIT = Path(sys.executable).with_name("fait")


async def publish(url: str, times: int) -> None:
    async with fait.App("bell").open(url, run="elsewhere") as s:
        await s.publish(fait.Untyped("bell.rung", {"times": times}), stream="bell-1")


def start_worker(folder: Path, url: str) -> subprocess.Popen[str]:
    command = [FAIT, "run", "--app", "bells:bell", "--store", url, "--json"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(worker: subprocess.Popen[str], word: str) -> list[str]:
    """Lines of a worker's standard output, up to one with a word."""
    assert worker.stdout is not None
    lines: list[str] = []
    for line in worker.stdout:
        lines.append(line)
        if word in line:
            break
    return lines


async def wait_until_handled(folder: Path, times: int) -> None:
    async with asyncio.timeout(30):
        while not (folder / "handled").exists() or len((folder / "handled").read_text()) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_worker_handles_events_reports_status_and_stops_on_signal(
    tmp_path: Path, store_url: Callable[[str], str], backend: str, number: signal.Signals
) -> None:
    url = store_url(backend)
    (tmp_path / "bells.py").write_text(APP)
    await publish(url, 2)
    worker = start_worker(tmp_path, url)
    try:
        await wait_until_handled(tmp_path, 2)
        await publish(url, 3)
        await wait_until_handled(tmp_path, 5)
        lines = await asyncio.wait_for(asyncio.to_thread(read_until, worker, "no clapper"), 20)
        worker.send_signal(number)
        stdout, stderr = await asyncio.to_thread(worker.communicate, timeout=20)
    finally:
        worker.kill()

    assert worker.returncode == 0, stderr
    reports = [json.loads(line) for line in (*lines, *stdout.splitlines())]
    assert {each["subscription"] for each in reports} == {"count", "broken"}
    assert any("no clapper" in (each["error"] or "") for each in reports if each["subscription"] == "broken")
    assert "stopping: finishing the current batches" in stderr


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_files_in_the_working_directory_replace_no_module_of_fait_or_of_the_standard_library(
    tmp_path: Path, store_url: Callable[[str], str], backend: str
) -> None:
    url = store_url(backend)
    (tmp_path / "bells.py").write_text(APP + "\nfrom hypothesis import OWN_MODULE\nimport json, email\n")
    (tmp_path / "hypothesis.py").write_text("OWN_MODULE = True")  # precedes an installed package
    for name in ("json", "email", "inspect", "queue", "decimal", "asyncpg", "apsw"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'{__name__} of the working directory was imported')")
    await publish(url, 2)
    worker = start_worker(tmp_path, url)
    try:
        await wait_until_handled(tmp_path, 2)
        worker.send_signal(signal.SIGTERM)
        _, stderr = await asyncio.to_thread(worker.communicate, timeout=30)
    finally:
        worker.kill()

    assert worker.returncode == 0, stderr


async def test_worker_whose_handler_hangs_in_a_thread_ends_at_a_signal(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bells.db"
    (tmp_path / "bells.py").write_text(HANGING)
    await publish(url, 1)
    worker = start_worker(tmp_path, url)
    try:
        await wait_until_handled(tmp_path, 1)
        worker.send_signal(signal.SIGTERM)
        _, stderr = await asyncio.to_thread(worker.communicate, timeout=20)
    finally:
        worker.kill()

    assert worker.returncode == 1
    assert "calls that do not end are cut off, and their events are handled again: fait-hang" in stderr


async def test_ctrl_c_while_the_store_does_not_answer_ends_the_start_quietly(tmp_path: Path) -> None:
    (tmp_path / "bells.py").write_text(APP)
    connected = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()  # until the worker disconnects
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    worker = start_worker(tmp_path, f"postgresql://user@127.0.0.1:{server.sockets[0].getsockname()[1]}/bells")
    try:
        await asyncio.wait_for(connected.wait(), 20)
        worker.send_signal(signal.SIGINT)
        output = await asyncio.to_thread(worker.communicate, timeout=30)
    finally:
        worker.kill()
        server.close()
        await server.wait_closed()

    assert (worker.returncode, *output) == (130, "", "")


def test_ctrl_c_while_the_app_is_imported_ends_the_start_quietly(tmp_path: Path) -> None:
    (tmp_path / "bells.py").write_text('print("importing", flush=True)\nimport time\ntime.sleep(0.5)\n' + APP)
    worker = start_worker(tmp_path, f"sqlite:///{tmp_path}/missing.db")
    try:
        read_until(worker, "importing")
        worker.send_signal(signal.SIGINT)
        _, stderr = worker.communicate(timeout=20)
    finally:
        worker.kill()

    assert (worker.returncode, stderr) == (130, "")


def test_ctrl_c_while_the_command_itself_is_imported_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "fait._tools.cli.commands", SimpleNamespace(fait=interrupt))

    with pytest.raises(SystemExit) as caught:
        main.run()

    assert caught.value.code == 130


class FlakySystem:
    """A system whose status is an error or a list; after the last one, the report ends."""

    def __init__(self, *results: Exception | list[fait.SubscriptionStatus]) -> None:
        self._results = list(results)

    async def status(self) -> list[fait.SubscriptionStatus]:
        if not self._results:
            raise asyncio.CancelledError
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.mark.parametrize("statuses", [[], [fait.SubscriptionStatus("count", "live", 7, 0, None)]])
async def test_each_outage_is_one_line_and_the_status_is_reported_again_only_if_it_changed(
    statuses: list[fait.SubscriptionStatus], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fait._tools.cli.run._POLL_INTERVAL_S", 0)
    outage = fait.StoreUnavailable("the server did not answer.")
    system: Any = FlakySystem(outage, outage, statuses, outage, outage, statuses)

    with suppress(asyncio.CancelledError):
        await report_changes(system, as_json=False)

    line = "the status cannot be read, the worker keeps retrying: the server did not answer."
    lives = [f"{each.name}: live at position 7" for each in statuses]
    assert capsys.readouterr().err.splitlines() == [line, *lives, line]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (fait.SubscriptionStatus("send", "waiting", 0, 4, None), "starting"),
        (fait.SubscriptionStatus("send", "catching_up", 0, 4, None), "catching up"),
        (fait.SubscriptionStatus("send", "failing", 0, 4, None, outage=True), "waiting"),
        (fait.SubscriptionStatus("send", "failing", 0, 0, None, retrying=1), "live, retrying 1 key"),
        (
            fait.SubscriptionStatus("send", "failing", 0, 4, None, 2, "", 3),
            "catching up, retrying 3 keys, parked 2 keys",
        ),
        (fait.SubscriptionStatus("send", "paused", 0, 4, None), "paused"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_worker_prints_states_in_the_words_of_fait_status(
    status: fait.SubscriptionStatus, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for as_json in (False, True):
        with suppress(asyncio.CancelledError):
            await report_changes(FlakySystem([status]), as_json)  # type: ignore[arg-type]

    printed = capsys.readouterr()
    assert printed.err == f"send: {shown} at position 0\n"
    assert json.loads(printed.out)["state"] == shown.partition(",")[0]


async def test_worker_that_still_owns_nothing_at_the_second_look_is_on_standby(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fait._tools.cli.run._POLL_INTERVAL_S", 0)
    waiting = [fait.SubscriptionStatus("send", "waiting", 0, 4, None)]

    with suppress(asyncio.CancelledError):
        await report_changes(FlakySystem(waiting, waiting, waiting), as_json=False)  # type: ignore[arg-type]

    assert capsys.readouterr().err.splitlines() == [f"send: {each} at position 0" for each in ("starting", "standby")]


async def test_words_of_a_worker_are_those_of_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "parked.md").read_text("utf-8")
    documented = set(re.findall(r"^\| ([a-z ]+?)(?: n keys)? \|", guide, re.MULTILINE))

    assert {
        *get_args(ObservedState),
        "starting",
        "standby",
        "failed",
        "retrying",
        "parked",
        "redriving",
        "discarding",
        "no heartbeat",
    } == documented


def test_missing_app_exits_with_2(tmp_path: Path) -> None:
    command = [FAIT, "run", "--app", "missing:bell", "--store", f"sqlite:///{tmp_path}/missing.db"]

    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert "no module named 'missing'" in result.stderr


def test_missing_variable_exits_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_BROKER", raising=False)
    command = [FAIT, "run", "--app", "tests.tools.relayed_shop:app", "--store", f"sqlite:///{tmp_path}/missing.db"]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    variable = "SHOP_BROKER (to= of relay 'relay-orders', from_= of consumer 'count')"
    assert f"variables are missing or empty: {variable}" in result.stderr


def write_bells(folder: Path, name: str, handler: str, factor: int = 1) -> str:
    """Write a module with an app, and return its --app value."""
    (folder / f"{name}.py").write_text(BELLS.format(handler=handler, factor=factor))
    return f"{name}:bell"


HANGING = """
import time

import fait

bell = fait.App("bell")

@fait.event("bell.rung")
class Rung:
    times: int

@bell.on(Rung, start="beginning", name="hang", timeout_s=0.2)
def hang(event: Rung) -> None:
    with open("handled", "a") as file:
        file.write("x")
    time.sleep(3_000)
"""

BELLS = """
from typing import Self

import fait

bell = fait.App("bell")

@fait.event("bell.rung")
class Rung:
    times: int

@bell.include
class Rings(fait.ReadModel, key="id"):
    id: str
    times: int

    @classmethod
    def evolve(cls, row: Self | None, event: Rung, at: fait.Envelope) -> Self | None:
        return cls(id=at.stream_id, times={factor} * event.times + (row.times if row else 0))

@bell.on(Rung, start="beginning", name="{handler}")
async def count(event: Rung) -> None:
    with open("handled", "a") as file:
        file.write("x" * event.times)
"""


def run_until_live(folder: Path, url: str, app: str, *options: str) -> None:
    command = [FAIT, "run", "--app", app, "--store", url, "--json", *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        live = set[str]()
        for line in worker.stdout:
            if '"live"' in line:
                live.add(json.loads(line)["subscription"])
            if len(live) == 2:
                break
        worker.send_signal(signal.SIGTERM)
        _, errors = worker.communicate(timeout=30)
    assert len(live) == 2, errors
    assert worker.returncode == 0, errors


AUDIT = ("--by", "ada", "--reason", "as agreed")


def recorded_actions(url: str) -> list[tuple[str, str, str, str]]:
    command = [FAIT, "actions", "--store", url, "--json"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    actions = [json.loads(each) for each in listed.stdout.splitlines()]
    return [(each["action"], each["by"], each["reason"], each["details"]) for each in actions]


async def rings(url: str) -> list[int]:
    store = await open_store(url, create=False)
    try:
        names = [Column("id", "text", False), Column("times", "integer", False)]
        return [row[1] for row in await store.tables.select(Table("rings", tuple(names), "id"), limit=5)]
    finally:
        await store.close()


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_changed_app_is_renamed_accepted_rebuilt_and_forgotten_by_options(
    tmp_path: Path, store_url: Callable[[str], str], backend: str
) -> None:
    url = store_url(backend)
    asyncio.run(publish(url, 2))
    run_until_live(tmp_path, url, write_bells(tmp_path, "first", "count"))

    run_until_live(tmp_path, url, write_bells(tmp_path, "second", "tally"), "--renamed", "count=tally")
    assert (tmp_path / "handled").read_text() == "xx"
    third = write_bells(tmp_path, "third", "tally", 10)
    run_until_live(tmp_path, url, third, "--accept", "rings")
    assert asyncio.run(rings(url)) == [2]
    run_until_live(tmp_path, url, third, "--rebuild", "rings")
    assert asyncio.run(rings(url)) == [20]
    run_until_live(tmp_path, url, write_bells(tmp_path, "fourth", "sum", 10), "--forget", "tally", *AUDIT)
    assert (tmp_path / "handled").read_text() == "xxxx"
    assert recorded_actions(url) == [
        ("forget", "ada", "as agreed", '{"failed_keys":0}'),
        ("rebuild", operator_name(""), "", '{"failed_keys":0}'),
        ("accept", operator_name(""), "", '{"handled_types":["bell.rung"]}'),
        ("rename", operator_name(""), "", '{"new_name":"tally"}'),
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--renamed", "sum"), "--renamed takes OLD=NEW"),
        (("--by", "ada"), "--reason and --by are recorded with a change"),
        (("--reason", "as agreed"), "--reason and --by are recorded with a change"),
        (("--forget", "sum", "--reason", ""), "the reason is empty"),
    ],
)
def test_invalid_options_of_a_change_exit_with_2(tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    app = write_bells(tmp_path, "bells", "sum")
    completed = subprocess.run(
        [FAIT, "run", "--app", app, "--store", f"sqlite:///{tmp_path}/bells.db", *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (completed.returncode, reason in completed.stderr) == (2, True), completed.stderr


def test_definition_accept_of_a_handler_asks_to_end_old_code_before(tmp_path: Path) -> None:
    url, app = f"sqlite:///{tmp_path}/bells.db", write_bells(tmp_path, "bells", "count")
    asyncio.run(publish(url, 2))
    muted = '@fait.event("bell.muted")\nclass Muted: ...\n\n@bell.on(Rung, Muted, start="beginning", name="count"'
    old = (tmp_path / "bells.py").read_text().replace('@bell.on(Rung, start="beginning", name="count"', muted)
    (tmp_path / "old.py").write_text(old)
    run_until_live(tmp_path, url, "old:bell")
    completed = subprocess.run(
        [FAIT, "definition", "accept", "count", "--app", app, "--store", url],
        cwd=tmp_path, input="n\n", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert "what differs: event bell.muted (no longer handled)" in completed.stderr
    assert (
        "count handles only the event types of this code from now on. End all processes with other code before, also "
        "web processes: if only the types differ, their workers continue, and pass over the events of a removed type, "
        "and whatever opens the other code adds the type again."
    ) in completed.stderr
    assert "stop" not in completed.stderr


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_definition_accept_keeps_rows_and_is_recorded(
    tmp_path: Path, store_url: Callable[[str], str], backend: str
) -> None:
    url = store_url(backend)
    asyncio.run(publish(url, 2))
    run_until_live(tmp_path, url, write_bells(tmp_path, "first", "count"))
    second = write_bells(tmp_path, "second", "count", 10)

    def definition(command: str, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        app = () if command == "show" else ("--app", second)
        return subprocess.run(
            [FAIT, "definition", command, *arguments, *app, "--store", url],
            cwd=tmp_path, input=answer, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    accept = partial(definition, "accept")
    canceled = accept("rings", answer="n\n")
    assert (canceled.returncode, "Nothing was changed" in canceled.stderr) == (1, True)
    assert "what differs: the code of Rings.evolve" in canceled.stderr
    differs, equal = definition("diff", "rings"), definition("diff", "count")
    assert (differs.returncode, differs.stdout) == (1, "rings: the code of Rings.evolve\n")
    assert (equal.returncode, equal.stdout) == (0, "count: the definition of the app is the stored one\n")
    shown = definition("show", "rings").stdout
    assert "option\tversion\t1\n" in shown
    assert "\ncode\tRings.evolve\t" in shown
    unknown = accept("none", answer="y\n")
    assert (unknown.returncode, "Its subscriptions: count, rings" in unknown.stderr) == (2, True)
    accepted = accept("rings", "--reason", "renamed a variable", "--by", "ada", answer="y\n")
    assert (accepted.returncode, accepted.stdout) == (0, "rings: the definition of the app is stored, as revision 2\n")
    again = accept("rings", "--yes", "--reason", "again")
    stored = "rings: the definition of the app is the stored one. Nothing was changed.\n"
    assert (again.returncode, again.stdout) == (0, stored)
    unchanged = json.loads(accept("count", "--yes", "--json").stdout)
    assert (unchanged["subscription"], unchanged["changed"], unchanged["revision"]) == ("count", False, 1)
    assert json.loads(definition("diff", "rings", "--json").stdout) == {
        "subscription": "rings", "differs": False, "differences": [],
    }  # fmt: skip
    assert json.loads(definition("show", "count", "--json").stdout)["parts"] == {"settings": {"order key": "stream"}}

    run_until_live(tmp_path, url, second)
    assert asyncio.run(rings(url)) == [2]
    listed = subprocess.run([FAIT, "actions", "--store", url], capture_output=True, text=True, timeout=60, check=True)
    assert "accept\trings\tada\trenamed a variable" in listed.stdout
