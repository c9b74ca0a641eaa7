"""The code of the guide to retention runs; a subscription that holds messages back is logged as the guide shows."""

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
        await s._subscription_runner.retention.sweep()


asyncio.run(main(ManualClock(SystemClock().now())))
"""


def blocks(language: str) -> str:
    return "".join(re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize(
    ("level", "run", "expected"),
    [
        ("INFO", "here", ["to ada@example.org\n", "shop.mail-wanted", "7 days, 0:00:00"]),
        ("WARNING", "elsewhere", re.findall(r"(?:subscription|type|age)=(.*?)(?: \w+=|$)", blocks("text").strip())),
    ],
)
def test_guide_drops_message_or_warns(level: str, run: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "guide.py").write_text(blocks("python") + START, "utf-8")

    completed = subprocess.run(
        [sys.executable, "guide.py", level, run],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert completed.returncode == 0, completed.stderr
    assert len(expected) == 3
    assert [value for value in expected if value not in completed.stdout] == []


def test_links_of_guide_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link
