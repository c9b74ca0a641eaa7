"""The example bank: its own tests pass, it is short, and its page shows its code."""

import re
from pathlib import Path

import pytest

from examples.bank import test_bank
from examples.bank.test_bank import (
    test_statement_has_a_line_for_each_payment_and_a_past_balance_can_be_read,
    test_withdrawal_above_the_balance_is_rejected,
)

__all__ = [
    "test_statement_has_a_line_for_each_payment_and_a_past_balance_can_be_read",
    "test_withdrawal_above_the_balance_is_rejected",
]

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples" / "bank").glob("*.py"))
CODE = "".join(each.read_text("utf-8") for each in FILES)


def test_all_tests_of_the_bank_are_run_here() -> None:
    assert {name for name in vars(test_bank) if name.startswith("test_")} == set(__all__)


def test_bank_has_at_most_120_lines_with_its_tests() -> None:
    assert len(CODE.splitlines()) <= 120


@pytest.mark.parametrize("number", range(4))
def test_page_shows_the_code_of_the_bank(number: int) -> None:
    page = (ROOT / "docs" / "bank.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)

    assert len(blocks) == 4
    assert blocks[number] in CODE
