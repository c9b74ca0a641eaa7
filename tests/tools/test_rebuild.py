"""A read model is built anew from the log, by this process or another, and nothing else of the app runs."""

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

class Total(fait.ReadModel, key="id", version={version}):
    id: str
    total: int

    @classmethod
    def evolve(cls, row: Self | None, event: fait.Untyped, at: fait.Recorded) -> Self | None:
        return cls(id=at.stream_id, total=({factor}) * event.data["n"] + (row.total if row else 0))

app = fait.App("counting")
app.include(Total)

@app.on(fait.Untyped, start="beginning")
async def leave_a_trace(event: fait.Untyped) -> None:
    Path("trace").touch()
"""


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes the app in another version, each as a module of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(number: int, factor: object) -> str:
        name = f"app_{tmp_path.name}_{number}"
        (tmp_path / f"{name}.py").write_text(APP.format(version=number, factor=factor))
        return f"{name}:app"

    return write


@pytest.fixture(autouse=True)
def facts(run: Run, store: str, jsonl: Callable[..., Path]) -> None:
    lines = [{"stream": f"a-{n % 3}", "type": "t", "time": "2024-01-01T00:00Z", "data": {"n": n}} for n in range(90)]
    assert run("import", jsonl(lines), "-s", store).exit_code == 0


def totals(store: str) -> list[tuple[str, int]]:
    import apsw

    connection = apsw.Connection(store.removeprefix("sqlite:///"))
    try:
        return connection.execute("SELECT id, total FROM total ORDER BY id").fetchall()
    finally:
        connection.close()


def test_a_changed_read_model_is_built_anew(run: Run, store: str, version: Callable[..., str], tmp_path: Path) -> None:
    expected = [(str(rest), sum(range(rest, 90, 3))) for rest in range(3)]

    done = run("rebuild", "total", "-s", store, "--app", version(1, 1), "--json")
    assert (done.exit_code, json.loads(done.stdout)["position"]) == (0, 90), done.stderr
    assert totals(store) == expected

    done = run("rebuild", "total", "-s", store, "--app", version(2, 10))
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("total was built anew up to position 90")
    assert totals(store) == [(id, 10 * total) for id, total in expected]
    assert not (tmp_path / "trace").exists()


def test_a_fold_that_fails_is_told_at_once(run: Run, store: str, version: Callable[..., str]) -> None:
    done = run("rebuild", "total", "-s", store, "--app", version(1, "1 // 0"))

    assert (done.exit_code, done.stdout) == (1, "")
    assert "total stopped after position 0 of 90: ZeroDivisionError" in done.stderr


def test_a_name_that_is_none_is_refused(run: Run, store: str, version: Callable[..., str], tmp_path: Path) -> None:
    app = version(1, 1)

    assert "it has: total" in run("rebuild", "totals", "-s", store, "--app", app).stderr
    assert run("rebuild", "total", "-s", store, "--app", "total").exit_code == 2
    absent = run("rebuild", "total", "-s", f"sqlite:///{tmp_path}/absent.db", "--app", app)
    assert (absent.exit_code, (tmp_path / "absent.db").exists()) == (2, False)
