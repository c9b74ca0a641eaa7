"""The code and the commands of the README run as printed, and the links of all pages lead to files."""

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
CHECKS = """

async def print_events():
    async with shop.open("sqlite:///shop.db", run="elsewhere") as s:
        print([(each.stream, each.event.customer_id) async for each in s.events()])


asyncio.run(print_events())
engine = create_engine("sqlite:///shop.db")
Model.metadata.create_all(engine)
with Session(engine) as session:
    order(session, "7", "ada")
    try:
        order(session, "7", "ada")
    except Exception as error:
        print(type(error).__name__)
engine.dispose()
asyncio.run(print_events())
"""


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("backend", ["postgres", "sqlite"])
def test_example_prints_expected_lines(backend: str, tmp_path: Path, store_url: Callable[[str], str]) -> None:
    url = store_url(backend)
    (tmp_path / "shop.py").write_text(PROGRAM.replace("sqlite:///shop.db", url), "utf-8")

    completed = run(sys.executable, "shop.py", cwd=tmp_path)

    assert completed.returncode == 0, completed.stderr
    assert sorted(completed.stdout.splitlines()) == [  # the handler prints its lines at any time
        "Thank you, c-1: 9.00 USD for order o-1",
        "Thank you, c-2: 0 USD for order o-2",
        "in 2024: new",
        "placed 9.00",
        "repeated: True",
        "version 1: placed - now: canceled",
    ]


def test_outbox_example_stores_row_and_event_or_neither(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM, "utf-8")
    (tmp_path / "orders.py").write_text(ORDERING + OUTBOX + CHECKS, "utf-8")

    completed = run(sys.executable, "-W", "ignore", "orders.py", cwd=tmp_path)

    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines() == ["[]", "IntegrityError", "[('order-7', 'ada')]"]


def test_commands_succeed_on_store_of_example(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM, "utf-8")
    assert run(sys.executable, "shop.py", cwd=tmp_path).returncode == 0
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "FAIT_STORE": "sqlite:///shop.db"}

    for command in COMMANDS:
        if command == "fait verify-store":  # it takes a minute and has its own tests
            command += " --help"
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}" if "&&" not in command else command],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            if command.startswith("fait run"):
                assert process.stderr is not None
                line = process.stderr.readline()
                assert all(name in line for name in ("sqlite:///shop.db", "order_summary", "thank")), line
                process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, f"{command}: {errors}"
    assert [command.split()[1] for command in COMMANDS] == [
        "run", "stream", "state", "status", "parked", "doctor", "backup", "db", "db", "verify-store",
    ]  # fmt: skip


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^\$ make ([\w-]+)", README, re.MULTILINE)

    assert targets == ["demo", "demo-brokers", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("adr/*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda page: page.stem
)
def test_links_of_page_exist(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
