"""The guide to what expires is run as it stands, and a subscription that stands still is told in its words."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "retention.md").read_text("utf-8")

START = """
import asyncio
import logging
import sys

from fait._clock import ManualClock, SystemClock

logging.basicConfig(format="%(message)s", level=sys.argv[1], stream=sys.stdout)


async def main(clock):
    async with shop.open("memory:", clock=clock, run=sys.argv[2]) as s:
        await order(s)
        if sys.argv[2] == "here":
            await s.wait()
        clock.moment += timedelta(days=9)
        await s.publish(OrderPlaced("Ada"), stream="mail-ada")
        if sys.argv[2] == "here":
            await s.wait()
        await s.runner.retention.sweep()


asyncio.run(main(ManualClock(SystemClock().now())))
"""


def blocks(language: str) -> str:
    return "".join(re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize(
    ("level", "where", "told"),
    [
        (
            "INFO",
            "here",
            "to ada@example.org\nexpired messages dropped: type=shop.mail-wanted count=1 retention=7 days, 0:00:00\n",
        ),
        ("WARNING", "elsewhere", blocks("text")),
    ],
)
def test_the_guide_does_what_it_says(level: str, where: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "guide.py").write_text(blocks("python") + START, "utf-8")

    ran = subprocess.run(
        [sys.executable, "guide.py", level, where],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == told


def test_every_file_it_names_exists() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link
