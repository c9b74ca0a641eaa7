"""The guides to the outbox run as they are printed: each page is a whole program, and what one types to run it."""

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
    """The guide's code blocks: language and text."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", guide.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Commands of a console block, each with what it prints."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = step.partition("\n")
        yield command, printed


async def database(server: PostgresServer) -> str:
    """The address of a new database."""
    name = f"guide_{uuid4().hex}"
    connection = await asyncpg.connect(server.url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return server.url.removesuffix("postgres") + name


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
async def test_the_guide_does_what_it_says(
    guide: Path, tmp_path: Path, postgres_servers: Callable[..., PostgresServer]
) -> None:
    bin = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
    for language, block in blocks(guide):
        if language == "python" and block.startswith("# "):
            name, _, program = block.removeprefix("# ").partition("\n")
            (tmp_path / name).write_text(program, "utf-8")
        elif language == "console":
            for command, printed in steps(block):
                if command.startswith("export "):
                    name, _, value = command.removeprefix("export ").partition("=")
                    on_postgres = value.startswith("postgresql")
                    environment[name] = await database(postgres_servers()) if on_postgres else value
                elif not command.startswith("pip "):
                    run(command, printed, tmp_path, environment)


def run(command: str, printed: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a command until it has printed what the guide says; one that runs on is interrupted then."""
    with subprocess.Popen(
        command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = printed.splitlines(keepends=True)
        said = [process.stdout.readline() for _ in lines]
        if command.startswith("fait run"):
            process.send_signal(signal.SIGINT)
        complaints = process.stderr.read()
    for line, expected in zip(said, lines, strict=True):
        assert re.fullmatch(".*".join(map(re.escape, expected.split("…"))), line), f"{command}\n{said}{complaints}"
    assert process.returncode == 0, complaints
