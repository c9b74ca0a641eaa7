"""The guides to the outbox run as printed: each page contains a complete program and the commands that run it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.servers.postgres import PostgresServer

GUIDES = sorted((Path(__file__).parents[2] / "docs" / "outbox").glob("*.md"))


def blocks(guide: Path) -> Iterator[tuple[str, str]]:
    """Iterate over the code blocks of the guide: language and text."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", guide.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Iterate over the commands of a console block: command and output."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = step.partition("\n")
        yield command, output


async def database(server: PostgresServer) -> str:
    """Create a database and return its URL."""
    name = f"guide_{uuid4().hex}"
    connection = await asyncpg.connect(server.url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return server.url.removesuffix("postgres") + name


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
async def test_guide_commands_print_documented_output(
    guide: Path, tmp_path: Path, postgres_servers: Callable[..., PostgresServer]
) -> None:
    bin = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
    for language, block in blocks(guide):
        if language == "python" and block.startswith("# "):
            name, _, program = block.removeprefix("# ").partition("\n")
            (tmp_path / name).write_text(program, "utf-8")
        elif language == "console":
            for command, output in steps(block):
                if command.startswith("export "):
                    name, _, value = command.removeprefix("export ").partition("=")
                    on_postgres = value.startswith("postgresql")
                    environment[name] = await database(postgres_servers()) if on_postgres else value
                elif not command.startswith("pip "):
                    run(command, output, tmp_path, environment)


def run(command: str, output: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a command and compare its output with the guide; interrupt a worker after the last line of the output."""
    with subprocess.Popen(
        command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        expected_lines = output.splitlines(keepends=True)
        lines = [process.stdout.readline() for _ in expected_lines]
        if command.startswith("fait run"):
            process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    for line, expected in zip(lines, expected_lines, strict=True):
        assert re.fullmatch(".*".join(map(re.escape, expected.split("…"))), line), f"{command}\n{lines}{errors}"
    assert process.returncode == 0, errors
