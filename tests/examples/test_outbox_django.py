"""The example of the outbox with Django prints what its README shows, on each database."""

import os
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
README = (ROOT / "examples" / "outbox_django" / "README.md").read_text("utf-8")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, postgres_servers: Callable[..., PostgresServer]) -> str:
    if request.param == "sqlite":
        return "sqlite:///shop.db"
    server, name = postgres_servers(), f"shop_{uuid4().hex}"
    with closing(psycopg.connect(server.url, autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.url.rpartition("/")[0] + f"/{name}"


def test_demo_prints_what_readme_shows(url: str, tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "examples.outbox_django.manage", "demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FAIT_STORE": url},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    [expected] = re.findall(r"^\$ .* demo\n((?:[^$`].*\n)+)", README, re.MULTILINE)

    assert (completed.returncode, completed.stdout) == (0, expected), completed.stderr


def test_links_of_readme_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / "examples" / "outbox_django" / link).exists(), link
