"""The benchmark of HTTP: a small run; times are not checked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.servers.postgres import installations

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)  # starts six web servers
def test_result_has_row_for_each_store_and_program(tmp_path: Path) -> None:
    if 18 not in installations():
        missing("PostgreSQL 18")
    ran = subprocess.run(
        [sys.executable, "-m", "web", "--rounds", "1", "--n", "64", "--out", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "bench"), str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "web.json").read_text("utf-8"))["rows"]
    programs = ("fait", "SQLAlchemy", "no store", "no HTTP")
    assert [(row["store"], row["program"]) for row in rows] == [
        (store, program) for store in ("SQLite", "PostgreSQL") for program in programs
    ]
    assert all(row["requests_s"] > 0 for row in rows)
    assert len(ran.stdout.splitlines()) == 2 + len(rows)
