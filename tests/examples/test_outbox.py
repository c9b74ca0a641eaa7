"""The example of the outbox with SQLAlchemy prints what its README shows, on each database."""

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
README = (ROOT / "examples" / "outbox" / "README.md").read_text("utf-8")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, postgres_servers: Callable[..., PostgresServer]) -> str:
    if request.param == "sqlite":
        return "sqlite:///shop.db"
    server, name = postgres_servers(), f"shop_{uuid4().hex}"
    with closing(psycopg.connect(server.url, autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.url.rpartition("/")[0] + f"/{name}"


@pytest.mark.parametrize("program", ["dual_write", "demo"])
def test_program_prints_what_readme_shows(program: str, url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"examples.outbox.{program}", url]
    completed = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100, check=False
    )
    [expected] = re.findall(rf"^\$ .*\.{program} .*\n((?:[^$`].*\n)+)", README, re.MULTILINE)

    assert (completed.returncode, completed.stdout) == (0, expected), completed.stderr
