"""The shop on SQLAlchemy does what its page says, on each database."""

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
PAGE = (ROOT / "examples" / "outbox" / "README.md").read_text("utf-8")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, postgres_servers: Callable[..., PostgresServer]) -> str:
    if request.param == "sqlite":
        return "sqlite:///shop.db"
    server, name = postgres_servers(), f"shop_{uuid4().hex}"
    with closing(psycopg.connect(server.url, autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.url.rpartition("/")[0] + f"/{name}"


@pytest.mark.parametrize("program", ["dual_write", "demo"])
def test_a_program_prints_what_the_page_shows(program: str, url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"examples.outbox.{program}", url]
    ran = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100, check=False
    )
    [shown] = re.findall(rf"^\$ .*\.{program} .*\n((?:[^$`].*\n)+)", PAGE, re.MULTILINE)

    assert (ran.returncode, ran.stdout) == (0, shown), ran.stderr
