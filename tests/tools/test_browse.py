"""Commands that read: what they print, that they change nothing, and that data cannot control a terminal."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fait._tools.cli.output import escape_controls

Write = Callable[..., Path]
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def stored_events(run: Run, store: str, jsonl: Write) -> None:
    lines = [
        {"stream": f"{kind}-{id}", "type": type, "time": f"2024-0{month}-01T00:00:00+02:00", "tags": tags, "data": data}
        for kind, id, type, month, tags, data in [
            ("order", 1, "placed", 1, ["customer:1"], {"total": 1.50, "status": "new"}),
            ("order", 2, "placed", 2, ["customer:2"], {"total": 7}),
            ("order", 1, "paid", 3, ["customer:1", "payment:9"], {"status": "paid"}),
            ("stock", "tea", "counted", 4, [], {"left": 3}),
        ]
    ]
    assert run("import", jsonl(lines), "-s", store).exit_code == 0


def printed_json(result: Any) -> list[Any]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def positions(result: Any) -> list[int]:
    return [each["position"] for each in printed_json(result)]


def test_streams_prints_names_and_versions(run: Run, store: str) -> None:
    assert run("streams", "-s", store).stdout == "stream\tversion\norder-1\t2\norder-2\t1\nstock-tea\t1\n"
    assert printed_json(run("streams", "-s", store, "--category", "stock", "--json")) == [
        {"stream": "stock-tea", "version": 1}
    ]


@pytest.mark.parametrize("command", ["streams", "events"])
def test_category_with_hyphen_is_refused(run: Run, store: str, command: str) -> None:
    result = run(command, "-s", store, "--category", "order-1")

    assert result.exit_code != 0
    assert "category 'order-1'" in result.stderr
    assert "'-'" in result.stderr


def test_output_beyond_limit_is_announced_on_stderr(run: Run, store: str) -> None:
    for command in (["streams"], ["stream", "order-1"], ["events"]):
        result = run(*command, "-s", store, "--limit", 1, "--json")

        assert len(printed_json(result)) == 1
        assert "Showing the first 1 " in result.stderr
        assert "--limit" in result.stderr


PEAK_MEMORY = """
import sys, tracemalloc
from fait._tools.cli.main import run
tracemalloc.start()
try:
    run()
finally:
    print(tracemalloc.get_traced_memory()[1], file=sys.stderr)
"""


def test_large_events_are_printed_page_by_page(run: Run, store: str, jsonl: Write) -> None:
    text, head = "x" * 900_000, {"stream": "big-1", "type": "grown", "time": "2024-01-01T00:00:00Z"}
    assert (
        run("import", jsonl([{**head, "data": {"text": text, "n": n}} for n in range(40)]), "-s", store).exit_code == 0
    )

    for command, count in {
        "stream big-1 --limit 39 --json": 39,
        "events --limit 39": 35,  # after the 4 other events of the log
        "events --since 2023-01-01T00:00:00Z --limit 39 --json": 35,
        "state big-1": 1,
    }.items():
        result = subprocess.run(
            [sys.executable, "-c", PEAK_MEMORY, *command.split(), "-s", store],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.count(text) == count
        assert ("Showing the first 39 events" in result.stderr) is (count > 1)
        assert int(result.stderr.split()[-1]) < 34 << 20, command  # all events are 36 MB, and their lines as much


def test_stream_prints_events_in_version_range(run: Run, store: str) -> None:
    assert positions(run("stream", "order-1", "-s", store, "--json")) == [1, 3]
    assert positions(run("stream", "order-1", "-s", store, "--from", 2, "--json")) == [3]
    assert positions(run("stream", "order-1", "-s", store, "--to", 1, "--json")) == [1]
    assert positions(run("stream", "order-1", "-s", store, "--from", 3, "--json")) == []

    missing = run("stream", "order-9", "-s", store)
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "stream 'order-9' does not exist" in missing.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [1, 2, 3, 4]),
        (["--type", "placed"], [1, 2]),
        (["--type", "paid", "--type", "counted"], [3, 4]),
        (["--tag", "customer:1"], [1, 3]),
        (["--tag", "customer:1", "--tag", "payment:9"], [3]),
        (["--category", "stock"], [4]),
        (["--since", "3"], [3, 4]),
        (["--since", "2024-02-15T00:00:00Z"], [3, 4]),
        (["--since", "2024-02-15T00:00:00Z", "--limit", "1"], [3]),
    ],
)
def test_events_prints_matching_events(run: Run, store: str, options: Sequence[str], expected: list[int]) -> None:
    assert positions(run("events", "-s", store, "--json", *options)) == expected


def test_stream_prints_all_fields_of_an_event(run: Run, store: str) -> None:
    event = printed_json(run("stream", "order-1", "-s", store, "--json"))[0]

    assert (event["stream"], event["version"], event["type"], event["schema_version"]) == ("order-1", 1, "placed", 1)
    assert (event["tags"], event["data"]) == (["customer:1"], {"total": 1.5, "status": "new"})
    assert event["occurred_at"] == "2023-12-31T22:00:00Z"
    row = run("stream", "order-1", "-s", store, "--to", 1).stdout.splitlines()[1]
    assert row.split("\t") == [
        "1", "order-1", "1", "placed", "2023-12-31T22:00:00.000000Z", '{"total":1.5,"status":"new"}'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "state", "events"),
    [
        ([], {"total": 1.5, "status": "paid"}, 2),
        (["--version", "1"], {"total": 1.5, "status": "new"}, 1),
        (["--as-of", "2024-02-01T00:00:00Z"], {"total": 1.5, "status": "new"}, 1),
        (["--at", "2100-01-01T00:00:00Z"], {"total": 1.5, "status": "paid"}, 2),
    ],
)
def test_state_without_app_merges_event_data(
    run: Run, store: str, options: Sequence[str], state: dict[str, Any], events: int
) -> None:
    result = printed_json(run("state", "order-1", "-s", store, "--json", *options))[0]

    assert (result["state"], result["events"], result["version"]) == (state, events, events)
    last = printed_json(run("stream", "order-1", "-s", store, "--json"))[events - 1]
    assert {name: result[name] for name in ("occurred_at", "recorded_at")}.items() <= last.items()
    assert result["folded_by"] == "merge of event data, last value wins"
    lines = run("state", "order-1", "-s", store, *options).stdout.splitlines()
    assert f"events\t{events}" in lines
    assert f'status\t"{state["status"]}"' in lines


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["state", "order-9"], 1, "stream 'order-9' does not exist"),
        (["state", "order-1", "--at", "2020-01-01T00:00:00Z"], 1, "had no events at that version or time"),
        (["state", "order-1", "--at", "2020-01-01"], 2, "the time zone is missing"),
        (["state", "order-1", "--at", "then"], 2, "expected a time such as"),
        (["state", "order-1", "--version", "1", "--as-of", "2020-01-01T00:00:00Z"], 2, "exclude each other"),
        (["state", "order-1", "--app", "nothing"], 2, "expected module:name"),
        (["state", "order-1", "--app", "no.such:app"], 2, "no module named 'no'"),
        (["state", "order-1", "--app", "counting:nothing"], 2, "Apps in this module: app"),
        (["state", "order-1", "--app", "importing:app"], 2, "imports no_such_module, which is not installed"),
        (["state", "stock-tea", "--app", "counting:app"], 2, "Categories with an aggregate: order."),
        (["events", "--since", "2020-01-01"], 2, "the time zone is missing"),
        (["events", "--limit", "0"], 2, ""),
    ],
)
def test_failed_command_prints_message_and_exit_code(
    run: Run, store: str, app_folder: Path, arguments: Sequence[str], code: int, message: str
) -> None:
    result = run(*arguments, "-s", store, "--json")

    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


COUNTING = """
import fait

@fait.event("placed")
class Placed:
    total: float
    status: str = "new"

@fait.event("paid")
class Paid:
    status: str

class Order(fait.Aggregate, category="order"):
    spent: float = 0
    steps: tuple[str, ...] = ()

    def evolve(self, event: Placed | Paid) -> None:
        self.steps += (event.status,)
        if isinstance(event, Placed):
            self.spent += event.total

app = fait.App("counting")
app.include(Order)
"""


@pytest.fixture
def app_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "counting.py").write_text(COUNTING)
    (tmp_path / "importing.py").write_text("import no_such_module")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_state_with_app_folds_with_aggregate(run: Run, store: str, app_folder: Path) -> None:
    now = printed_json(run("state", "order-1", "-s", store, "--app", "counting:app", "--json"))[0]
    before = printed_json(run("state", "order-1", "-s", store, "--app", "counting:app", "--version", "1", "--json"))[0]

    assert (now["state"], now["folded_by"]) == ({"spent": 1.5, "steps": ["new", "paid"]}, "Order")
    assert before["state"] == {"spent": 1.5, "steps": ["new"]}
    assert run("doctor", "-s", store).exit_code == 0, "reading must not register a subscription"


@pytest.mark.parametrize(
    "command", [["streams"], ["stream", "a"], ["events"], ["state", "a"], ["tail"], ["doctor"], ["export"]]
)
def test_reading_a_missing_store_creates_nothing(run: Run, tmp_path: Path, command: Sequence[str]) -> None:
    result = run(*command, "-s", f"sqlite:///{tmp_path}/missing.db")

    assert result.exit_code == 2
    assert "there is no store" in result.stderr
    assert not (tmp_path / "missing.db").exists()


EVIL = "\x1b]0;owned\x07\x1b[2J \x9b31m \u202egnp.exe \u2066 [red]x[/red] \x7f \r\n\t"


def test_escape_controls_replaces_control_characters() -> None:
    assert escape_controls(EVIL) == (
        "\\u001b]0;owned\\u0007\\u001b[2J \\u009b31m \\u202egnp.exe \\u2066 [red]x[/red] \\u007f \\u000d\\u000a\\u0009"
    )
    assert escape_controls("half \ud800, whole \U0001f600, naïve") == "half \\ud800, whole \U0001f600, naïve"


@pytest.mark.parametrize("terminal", [False, True])
def test_data_cannot_control_a_terminal(
    run: Run, store: str, jsonl: Write, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    line = {
        "stream": f"evil-{EVIL}",
        "type": EVIL,
        "time": "2024-01-01T00:00:00Z",
        "tags": [EVIL],
        "data": {EVIL: EVIL},
    }
    run("import", jsonl([line]), "-s", store)
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setattr("fait._tools.cli.output.is_terminal", lambda: terminal)

    for command in (["streams"], ["events"], ["stream", f"evil-{EVIL}"], ["state", f"evil-{EVIL}"], ["stream", EVIL]):
        for option in ([], ["--json"]):
            result = run(*command, "-s", store, *option)
            controls = {char for char in result.output if escape_controls(char) != char} - {"\n", "\t"}
            assert controls == set()
    assert printed_json(run("stream", f"evil-{EVIL}", "-s", store, "--json"))[0]["data"] == {EVIL: EVIL}


def test_markup_in_data_is_printed_as_text(run: Run, store: str, jsonl: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"stream": "a", "type": "[bold]t[/bold]", "time": "2024-01-01T00:00:00Z", "data": "[link=x]y[/link]"}
    run("import", jsonl([line]), "-s", store)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("fait._tools.cli.output.is_terminal", lambda: True)

    output = run("stream", "a", "-s", store).stdout

    assert "[bold]t[/bold]" in output
    assert "[link=x]y[/link]" in output


def test_table_in_narrow_terminal_is_folded_without_loss(
    run: Run, store: str, jsonl: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "".join(f"{n:04}" for n in range(100))
    run("import", jsonl([{"stream": words, "type": "t", "time": "2024-01-01T00:00:00Z", "data": 1}]), "-s", store)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("fait._tools.cli.output.is_terminal", lambda: True)

    output = run("streams", "-s", store).stdout

    assert max(map(len, output.splitlines())) <= 40
    assert words in "".join(line.split(" ")[0] for line in output.splitlines())
