"""Figures on pages equal those of the published runs; a manual change of a figure is detected."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
MACHINE = {"processor": "A", "cores": 2, "memory_gb": 8, "system": "Linux 6", "file_system": "ext4"}
ZEROS = dict.fromkeys(("events", "rolled_back", "missed", "repeated", "reordered", "phantom", "lost"), 0)
EVERY = {"date": "2026-01-01", "machine": MACHINE, "goals": [], "growth": [], "properties": {}}
SQLITE = EVERY | {"durability": "WAL", "versions": {"python": "3"}, "lost_events": ZEROS | {"killed": 2, "refused": 1}}
POSTGRES = EVERY | {
    "versions": {"postgresql": "18.1"}, "settings": {"fsync": "on"}, "round_trip_us": {"0": 50}, "stalls": {},
    "lost_events": {"fait": ZEROS}, "left_out": {}, "failed": [], "unfinished": [],
}  # fmt: skip


def sqlite_row(subject: str, rate: float, ratio: float) -> dict[str, Any]:
    figures = {"ops_s": rate, "p50_us": 100.0, "p99_us": 200.0}
    ratios = {"ops_s_ratio": ratio, "p50_us_ratio": 1.0, "p99_us_ratio": 1.0}
    return {"workload": "W1", "subject": subject, "unit": "appends/s", **figures, **ratios}


def postgres_row(subject: str, rate: float, ratio: float) -> dict[str, Any]:
    figures = {"ops_s": rate, "p50_us": 100.0, "p99_us": 200.0, "ratios": {"fait": {"ops_s": ratio}}}
    return {"workload": "W1", "latency_ms": 0.0, "subject": subject, "unit": "appends/s", **figures}


RUNS = {
    "report": SQLITE | {"rows": [sqlite_row("fait_system", 4321, 1.0), sqlite_row("eventsourcing_app", 2000, 2.16)]},
    "postgres.report": POSTGRES
    | {
        "rows": [
            postgres_row("fait", 4321, 1.0), postgres_row("eventsourcing", 400, 10.8),
            postgres_row("umadb", 2000, 2.16), postgres_row("asyncpg", 6000, 0.72),
        ]
    },
}  # fmt: skip
README_LINES = {
    "report": "| W1: append, 1 caller | 4,321 appends/s | 2.2 × eventsourcing | – |",
    "postgres.report": "| W1: append, 1 caller | 4,321 appends/s | 2.2 × UmaDB | 0.72 × asyncpg |",
}


@pytest.fixture(params=RUNS)
def report(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A report module that writes to copies of its files."""
    monkeypatch.syspath_prepend(str(BENCH))
    module = importlib.import_module(request.param)
    for name in ("PAGE", "README"):
        copy = tmp_path / getattr(module, name).name
        copy.write_text(getattr(module, name).read_text("utf-8"), "utf-8")
        monkeypatch.setattr(module, name, copy)
    for name in ("LATEST", "CHART"):
        monkeypatch.setattr(module, name, tmp_path / "published" / getattr(module, name).name)
    return module


@pytest.fixture
def publish(report: ModuleType) -> Callable[..., int]:
    return lambda *arguments: importlib.import_module("published").publish(arguments, report.LATEST, report.wanted)


@pytest.fixture
def run(report: ModuleType, tmp_path: Path) -> str:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(RUNS[report.__name__]), "utf-8")
    return str(path)


def test_publish_writes_page_and_readme(report: ModuleType, publish: Callable[..., int], run: str) -> None:
    assert publish(run) == 0

    assert README_LINES[report.__name__] in report.README.read_text("utf-8")
    assert "4,321 appends/s" in report.PAGE.read_text("utf-8")
    assert report.CHART.exists()
    assert publish("--check") == 0


@pytest.mark.parametrize("name", ["README", "PAGE", "CHART", "LATEST"])
def test_manual_change_of_figure_is_detected(
    report: ModuleType, publish: Callable[..., int], run: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(run)
    path: Path = getattr(report, name)
    text = path.read_text("utf-8")
    changed = re.sub(r"4,321|4321|\d[.]\d×|2[.]2 ×", "9999", text)
    assert changed != text
    path.write_text(changed, "utf-8")

    assert publish("--check") == 1
    assert f"differs from {report.LATEST.name}" in capsys.readouterr().err


def test_pages_without_published_run_say_so(report: ModuleType, publish: Callable[..., int], run: str) -> None:
    publish(run)
    report.LATEST.unlink()

    assert publish() == 0

    texts = [path.read_text("utf-8") for path in (report.README, report.PAGE)]
    assert all("No run has been published yet" in text for text in texts)
    assert all("4,321" not in text for text in texts)


def test_page_without_markers_is_rejected(report: ModuleType, publish: Callable[..., int], run: str) -> None:
    report.README.write_text("# fait\n", "utf-8")

    with pytest.raises(SystemExit, match="has no place for figures"):
        publish(run)


@pytest.mark.parametrize("program", [["report"], ["postgres.report"]])
def test_committed_figures_equal_published_runs(program: list[str]) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", *program, "--check"], cwd=BENCH, capture_output=True, text=True, timeout=30, check=False
    )

    assert checked.returncode == 0, checked.stderr
