"""The code of the guide to boundaries runs and prints the output that the guide shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "boundaries.md").read_text("utf-8")

START = """
import sys

async def main():
    async with shop.open(sys.argv[1]) as s:
        await sell(s)
        await register_twice(s)

asyncio.run(main())
"""


def blocks(language: str) -> str:
    return "".join(re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("url", ["memory:", "sqlite:///shop.db"])
def test_guide_prints_documented_output(url: str, tmp_path: Path) -> None:
    (tmp_path / "guide.py").write_text(blocks("python") + START, "utf-8")

    completed = subprocess.run(
        [sys.executable, "guide.py", url], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == blocks("text")


def test_links_of_guide_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link
