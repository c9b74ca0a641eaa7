"""The guide to boundaries is run as it stands, and prints what it says."""

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
        await twice(s)

asyncio.run(main())
"""


def blocks(language: str) -> str:
    return "".join(re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("url", ["memory:", "sqlite:///shop.db"])
def test_the_guide_does_what_it_says(url: str, tmp_path: Path) -> None:
    (tmp_path / "guide.py").write_text(blocks("python") + START, "utf-8")

    ran = subprocess.run(
        [sys.executable, "guide.py", url], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == blocks("text")


def test_every_file_it_names_exists() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link
