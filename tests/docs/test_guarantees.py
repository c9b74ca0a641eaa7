"""Each line of the page on guarantees names a test, and there are such tests."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "guarantees.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| guarantee")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_guarantee_names_a_test_that_exists(row: str) -> None:
    tests = re.findall(r"`((?:tests|src)/[\w/.]+\.py)(?:::(\w+))?`", row.rstrip("|").rpartition("|")[2])

    assert tests
    for file, name in tests:
        text = (ROOT / file).read_text("utf-8")
        assert re.search(rf"def {name or 'test_'}", text), (file, name)
