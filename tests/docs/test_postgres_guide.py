"""The guide to PostgreSQL is run as it stands, as the owner of a schema who is no superuser."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fait._store.postgres.health import CHECKS
from tests.servers.postgres import PostgresServer

GUIDE = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """With the guide's database and roles."""
    with PostgresServer(18, {"fsync": "on"}) as running:
        run(running.url, "CREATE ROLE shop_owner LOGIN", "CREATE DATABASE shop OWNER shop_owner")
        run(running.url, "CREATE ROLE shop_app LOGIN", "CREATE ROLE shop_reader LOGIN")
        yield running


def run(url: str, *statements: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(execute())


def environment(server: PostgresServer) -> dict[str, str]:
    """That of a shell on the server, where its programs are found, and which is the owner's."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(server.programs), os.environ["PATH"]])
    owner = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "shop_owner"}
    return {**os.environ, **owner, "PATH": path, "LC_ALL": "C.UTF-8"}


def shell(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    whole = f"set -o pipefail; {command}"
    return subprocess.run(["bash", "-c", whole], check=False, env=environment, capture_output=True, text=True)


def test_the_guide_does_what_it_says(server: PostgresServer) -> None:
    variables = environment(server)
    export, scripts = blocks("sh")
    found = re.fullmatch(r'export FAIT_STORE="(.*)"\n', export)
    assert found
    variables["FAIT_STORE"] = found[1].replace("@localhost/", f"@127.0.0.1:{server.port}/")
    _install, commands = blocks("console")
    for step in re.split(r"^\$ ", commands, flags=re.MULTILINE)[1:]:
        command, _, printed = step.partition("\n")
        done = shell(command, variables)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(".*".join(map(re.escape, printed.split("…"))), done.stdout, re.DOTALL), done.stdout

    owner = variables["FAIT_STORE"].partition("?")[0]
    run(owner, *blocks("sql"))
    assert shell("fait events", {**variables, "FAIT_STORE": variables["FAIT_STORE"].replace("owner", "reader")}).stdout

    whole, missing = scripts.splitlines()
    assert shell(missing, variables).returncode == 0
    run(owner, "DROP SCHEMA shop CASCADE")
    assert shell(whole, variables).returncode == 0
    assert shell("fait db status", variables).returncode == 0
    assert shell("fait doctor", variables).returncode == 0


def test_every_check_of_the_doctor_is_explained() -> None:
    [table] = re.findall(r"^\| check \|.*?\n\n", GUIDE, re.DOTALL | re.MULTILINE)
    explained = {name for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(", ")}

    assert explained - {"check", "subscription …"} == set(CHECKS)
