"""The README runs as it is printed, and no page links to nothing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PROGRAM, OUTBOX = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^\$ (fait [^#\n]*?) *(?:#.*)?$", README, re.MULTILINE)

ORDERING = """
import asyncio

import fait
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from shop import Decimal, OrderPlaced, shop


class Model(DeclarativeBase):
    pass


class Purchase(Model):
    __tablename__ = "purchases"
    number: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str]


"""
AND_LOOKING = """

async def stored():
    async with shop.open("sqlite:///shop.db", run="elsewhere") as s:
        print([(each.stream, each.event.customer_id) async for each in s.events()])


asyncio.run(stored())
engine = create_engine("sqlite:///shop.db")
Model.metadata.create_all(engine)
with Session(engine) as session:
    order(session, "7", "ada")
    try:
        order(session, "7", "ada")
    except Exception as problem:
        print(type(problem).__name__)
engine.dispose()
asyncio.run(stored())
"""


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("backend", ["postgres", "sqlite"])
def test_the_example_runs_as_printed(backend: str, tmp_path: Path, store_url: Callable[[str], str]) -> None:
    url = store_url(backend)
    (tmp_path / "shop.py").write_text(PROGRAM.replace("sqlite:///shop.db", url), "utf-8")

    ran = run(sys.executable, "shop.py", cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert sorted(ran.stdout.splitlines()) == [  # the reactor speaks when it gets there
        "Thank you, c-1: 9.00 USD for order o-1",
        "Thank you, c-2: 0 USD for order o-2",
        "done before: True",
        "it was placed and is canceled",
        "placed 9.00",
        "unknown in 2024: new",
    ]


def test_the_outbox_stores_both_or_neither(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM, "utf-8")
    (tmp_path / "orders.py").write_text(ORDERING + OUTBOX + AND_LOOKING, "utf-8")

    ran = run(sys.executable, "-W", "ignore", "orders.py", cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["[]", "IntegrityError", "[('order-7', 'ada')]"]


def test_the_commands_work_on_what_the_example_leaves(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM, "utf-8")
    assert run(sys.executable, "shop.py", cwd=tmp_path).returncode == 0
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "FAIT_STORE": "sqlite:///shop.db"}

    for command in COMMANDS:
        if command == "fait verify-store":  # it has tests of its own, and takes its time
            command += " --help"
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}" if "&&" not in command else command],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            if command.startswith("fait run"):
                assert process.stderr is not None
                assert process.stderr.readline().startswith("shop on sqlite:///shop.db runs order_summary, thank")
                process.send_signal(signal.SIGINT)
            _, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, f"{command}: {complaints}"
    assert [command.split()[1] for command in COMMANDS] == [
        "run", "stream", "state", "doctor", "db", "verify-store",
    ]  # fmt: skip


def test_the_commands_it_names_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = re.findall(r"^\$ make (\w+)", README, re.MULTILINE)

    assert named == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("adr/*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda page: page.stem
)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
