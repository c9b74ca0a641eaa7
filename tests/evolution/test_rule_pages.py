"""Each rule of the check has a page in the documentation, and each page is that of a rule."""

import re
from pathlib import Path

import pytest

from fait._evolution.locks.rules import TITLES

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "rules"


def test_each_rule_in_the_source_has_a_title_and_a_page() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))

    assert set(re.findall(r"FAIT\d{3}", sources)) == TITLES.keys()
    assert {path.stem for path in PAGES.glob("*.md")} == {*TITLES, "README"}


@pytest.mark.parametrize("rule", TITLES)
def test_page_of_a_rule_has_its_title_and_says_what_to_do(rule: str) -> None:
    page = (PAGES / f"{rule}.md").read_text(encoding="utf-8")

    assert page.startswith(f"# {rule}: {TITLES[rule]}\n")
    assert re.findall("^## (.*)$", page, re.MULTILINE) == ["Why it matters", "Example", "What to do"]
    assert f"| [{rule}]({rule}.md) | {TITLES[rule]} |" in (PAGES / "README.md").read_text(encoding="utf-8")
