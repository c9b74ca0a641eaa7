"""`fait rebuild` rebuilds one read model from the log, and runs nothing else of the app."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

APP = """
from pathlib import Path
from typing import Self

import fait

class Total(fait.ReadModel, key="id", version={version}, on_failure=fait.FailurePolicy({policy})):
    id: str
    total: int

    @classmethod
    def evolve(cls, row: Self | None, event: fait.Untyped, at: fait.Envelope) -> Self | None:
        return cls(id=at.stream_id, total=({factor}) * event.data["n"] + (row.total if row else 0))

app = fait.App("counting")
app.include(Total)

@app.on(fait.Untyped, start="beginning")
async def leave_a_trace(event: fait.Untyped) -> None:
    Path("trace").touch()
"""


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a version of the app as a module, and returns its --app value."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(number: int, factor: object, policy: str = "attempts=1") -> str:
        name = f"app_{tmp_path.name}_{number}"
        (tmp_path / f"{name}.py").write_text(APP.format(version=number, factor=factor, policy=policy))
        return f"{name}:app"

    return write


@pytest.fixture(autouse=True)
def stored_events(run: Run, store: str, jsonl: Callable[..., Path]) -> None:
    lines = [{"stream": f"a-{n % 3}", "type": "t", "time": "2024-01-01T00:00Z", "data": {"n": n}} for n in range(90)]
    assert run("import", jsonl(lines), "-s", store).exit_code == 0


def totals(store: str) -> list[tuple[str, int]]:
    import apsw

    connection = apsw.Connection(store.removeprefix("sqlite:///"))
    try:
        return connection.execute("SELECT id, total FROM total ORDER BY id").fetchall()
    finally:
        connection.close()


def test_rebuild_fills_changed_read_model(run: Run, store: str, version: Callable[..., str], tmp_path: Path) -> None:
    expected = [(str(n), sum(range(n, 90, 3))) for n in range(3)]

    result = run("rebuild", "total", "-s", store, "--app", version(1, 1), "--json")
    assert (result.exit_code, json.loads(result.stdout)["position"]) == (0, 90), result.stderr
    assert totals(store) == expected

    audit = ("--by", "ada", "--reason", "ten times")
    result = run("rebuild", "total", "-s", store, "--app", version(2, 10), *audit)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("rebuilt total up to position 90")
    assert totals(store) == [(id, 10 * total) for id, total in expected]
    assert not (tmp_path / "trace").exists()
    actions = [json.loads(each) for each in run("actions", "-s", store, "--json").stdout.splitlines()]
    assert [(each["action"], each["by"], each["reason"]) for each in actions] == [("rebuild", "ada", "ten times")]


@pytest.mark.parametrize(
    ("factor", "failed"),
    [
        ("1 // 0", "3 keys failed and the rows of them"),
        ("1 // (at.stream_id != '1')", "1 key failed and the rows of it"),
    ],
)
def test_keys_that_the_fold_fails_on_are_an_error(
    run: Run, store: str, version: Callable[..., str], factor: str, failed: str
) -> None:
    result = run("rebuild", "total", "-s", store, "--app", version(1, factor))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "rebuild of total reached position 90, but" in result.stderr
    assert failed in result.stderr
    assert "builtins.ZeroDivisionError at " in result.stderr
    assert "fait parked show total --store" in result.stderr
    others = [] if factor == "1 // 0" else [(id, sum(range(int(id), 90, 3))) for id in "02"]
    assert totals(store) == others


def test_rebuild_waits_for_the_last_attempt_and_succeeds_without_what_is_skipped(
    run: Run, store: str, version: Callable[..., str]
) -> None:
    policy = "initial_s=0.2, max_s=0.2, attempts=2, then='skip'"
    result = run("rebuild", "total", "-s", store, "--app", version(1, "1 // (event.data['n'] != 88)", policy))

    assert (result.exit_code, totals(store)) == (0, [("0", 1305), ("1", 1335 - 88), ("2", 1365)]), result.stderr


def test_rebuild_whose_policy_pauses_the_read_model_is_an_error(
    run: Run, store: str, version: Callable[..., str]
) -> None:
    app = version(1, "1 // (event.data['n'] != 88)", "attempts=1, then='stop'")
    result = run("rebuild", "total", "-s", store, "--app", app)

    assert result.exit_code == 1
    assert "rebuild of total was paused after position" in result.stderr
    assert "Cause: builtins.ZeroDivisionError at " in result.stderr


def test_unknown_read_model_is_rejected(run: Run, store: str, version: Callable[..., str], tmp_path: Path) -> None:
    app = version(1, 1)

    assert "Its read models: total" in run("rebuild", "totals", "-s", store, "--app", app).stderr
    assert run("rebuild", "total", "-s", store, "--app", "total").exit_code == 2
    missing = run("rebuild", "total", "-s", f"sqlite:///{tmp_path}/missing.db", "--app", app)
    assert (missing.exit_code, (tmp_path / "missing.db").exists()) == (2, False)
