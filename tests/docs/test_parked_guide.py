"""The commands of the guide to events that fail run in its order, and print what it shows."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

import pytest

import fait

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "parked.md").read_text("utf-8")
APP, MODEL = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
STEPS = [
    (command, output)
    for block in re.findall(r"^```console\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    for command, output in re.findall(r"^\$ (fait .*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]
VARIABLE = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\dZ|[0-9a-f-]{36}|\w+:\d{5}|\w+@\w+|.*shop[.]\w+.*|\d+")

PUBLISH = """
import asyncio
import sys

from shop import Paid, shop

async def main():
    async with shop.open(sys.argv[1], run="elsewhere") as s:
        for number, customer, amount in ((7, "ada", -5), (8, "ada", -2), (9, "bob", 3), (7, "ada", 12), (10, "ada", 3)):
            await s.publish(Paid(customer, amount), stream=f"order-{number}")

asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


async def test_read_model_of_the_guide_skips_what_it_cannot_fold() -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(APP + MODEL, "guide", "exec", dont_inherit=True), names)
    app, paid = fait.App("guide"), names["Paid"]
    app.include(names["Customers"])
    async with app.open("memory:") as system:
        for amount in (1, 2**63 - 1, 3):  # the second one is too much for the row
            await system.publish(paid("ada", amount), stream="order-1")
        await system.settle(timeout_s=30)
        rows = await system.find(names["Customers"])

    assert [(each.name, each.paid) for each in rows] == [("ada", 4)]


@contextmanager
def worker(folder: Path, url: str) -> Iterator[None]:
    command = ["fait", "run", "--app", "shop:shop"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "runs invoice" in process.stderr.readline()
        try:
            yield
        finally:
            process.terminate()
            process.communicate(timeout=30)


def environment(url: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "FAIT_STORE": url}


def run(command: str, folder: Path, url: str, answer: str = "") -> str:
    completed = subprocess.run(
        ["bash", "-c", command],
        cwd=folder, env=environment(url), input=answer, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, f"{command}: {completed.stderr}"
    return completed.stdout + completed.stderr


def wait_until_parked(folder: Path, url: str, keys: int) -> None:
    for _ in range(300):
        if run("fait status", folder, url).count(f"live, parked {keys} keys"):
            return
        time.sleep(0.1)
    raise AssertionError("the keys were not parked in time")


def missing_words(shown: str, printed: str) -> list[str]:
    """Words of the guide that a command did not print, without times, ids, hosts and paths."""
    words = [each for each in shown.split() if not VARIABLE.fullmatch(each)]
    return [each for each in words if each not in printed.split()]


def test_commands_print_what_the_guide_shows(url: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "publish.py").write_text(PUBLISH)
    run(f"{sys.executable} publish.py '{url}'", tmp_path, url)
    assert len(STEPS) == 9
    repaired = next(index for index, (command, _) in enumerate(STEPS) if "--wait" in command)

    with worker(tmp_path, url):
        wait_until_parked(tmp_path, url, 3)
        check(STEPS[:repaired], tmp_path, url)
    (tmp_path / "shop.py").write_text(APP.replace("event.amount < 0", "False"))
    with worker(tmp_path, url):
        check(STEPS[repaired:], tmp_path, url)


def check(steps: list[tuple[str, str]], folder: Path, url: str) -> None:
    for command, output in steps:
        answer = re.search(r"^Type (\d+) ", output, re.MULTILINE)
        printed = run(command, folder, url, f"{answer[1]}\n" if answer else "")
        if command == "fait status":  # which of the keys has failed last is random
            printed = printed.replace("KeyError", "ValueError")
        assert missing_words(output.replace("sqlite:///shop.db", quote(url)), printed) == [], f"{command}:\n{printed}"


def test_links_of_guide_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link
    for anchor in re.findall(r"\]\(#([^)]*)\)", GUIDE):
        headings = [
            re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-")
            for each in re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)
        ]
        assert anchor in headings
