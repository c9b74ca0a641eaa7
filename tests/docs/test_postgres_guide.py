"""The commands and the SQL of the PostgreSQL guide run as printed, as a schema owner without superuser rights."""

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

CHECKS_OF_SUBSCRIPTIONS = {"subscription …", "retrying keys of …", "parked keys of …", "progress of …"}
"""Checks of all backends, whose names have that of a subscription."""

GUIDE = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Start a server with the database and the roles of the guide."""
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
    """Return the environment of the owner's shell, with the server's programs on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(server.programs), os.environ["PATH"]])
    owner = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "shop_owner"}
    return {**os.environ, **owner, "PATH": path, "LC_ALL": "C.UTF-8"}


def shell(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = f"set -o pipefail; {command}"
    return subprocess.run(["bash", "-c", script], check=False, env=environment, capture_output=True, text=True)


def test_guide_commands_print_documented_output(server: PostgresServer) -> None:
    variables = environment(server)
    export, scripts = blocks("sh")
    match = re.fullmatch(r'export FAIT_STORE="(.*)"\n', export)
    assert match
    variables["FAIT_STORE"] = match[1].replace("@localhost/", f"@127.0.0.1:{server.port}/")
    _install, commands = blocks("console")
    for step in re.split(r"^\$ ", commands, flags=re.MULTILINE)[1:]:
        command, _, output = step.partition("\n")
        completed = shell(command, variables)
        assert completed.returncode == 0, completed.stderr
        assert re.fullmatch(".*".join(map(re.escape, output.split("…"))), completed.stdout, re.DOTALL), completed.stdout

    owner = variables["FAIT_STORE"].partition("?")[0]
    run(owner, *blocks("sql"))
    assert shell("fait events", {**variables, "FAIT_STORE": variables["FAIT_STORE"].replace("owner", "reader")}).stdout

    create, migrate = scripts.splitlines()
    assert shell(migrate, variables).returncode == 0
    run(owner, "DROP SCHEMA shop CASCADE")
    assert shell(create, variables).returncode == 0
    assert shell("fait db status", variables).returncode == 0
    assert shell("fait doctor", variables).returncode == 0


def test_every_doctor_check_is_documented() -> None:
    [table] = re.findall(r"^\| check \|.*?\n\n", GUIDE, re.DOTALL | re.MULTILINE)
    documented = {name for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(", ")}

    assert documented - {"check"} == {"log id", *CHECKS, *CHECKS_OF_SUBSCRIPTIONS}
