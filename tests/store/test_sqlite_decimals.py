"""Decimals in SQLite are compared by a text that any program sorts as the number."""

from decimal import Decimal
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fait._errors import UsageError
from fait._store.open import open_store
from fait._store.ports.tables import Column, RowChange, SortOrder, Table
from fait._store.sqlite.table_sql import to_rows
from fait.testing.contract.leases import acquired, work_of

PRICES = Table("prices", (Column("id", "integer", False), Column("price", "decimal", True)), "id", (("price",),))

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False) | st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent), st.integers(-999, 999), st.integers(-9, 9)
)


def sort_key(number: Decimal) -> str:
    [(_, _, key)] = to_rows(PRICES, [(1, number)])
    return key


@given(DECIMALS, DECIMALS)
def test_sort_keys_compare_as_their_numbers(one: Decimal, other: Decimal) -> None:
    assert (sort_key(one) < sort_key(other)) == (one < other)
    assert (sort_key(one) == sort_key(other)) == (one == other)


@pytest.mark.parametrize(
    "numbers",
    [
        ["1", "1.0", "1.000", "10E-1"],
        ["0", "-0", "0.00", "0E+99"],
        ["-1E+999999", "-1.05", "-1", "-0.1", "-1E-999999", "0", "1E-999999", "0.1", "1", "1.05", "1E+999999"],
    ],
)
def test_sort_keys_of_equal_and_extreme_numbers(numbers: list[str]) -> None:
    keys = [sort_key(Decimal(each)) for each in numbers]

    assert keys == sorted(keys)
    assert len(set(keys)) == len(set(map(Decimal, numbers)))


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_number_that_is_not_finite_is_refused(number: str) -> None:
    with pytest.raises(UsageError, match=r"Nothing was written\. Use a finite number"):
        sort_key(Decimal(number))


async def test_file_with_a_decimal_index_can_be_maintained_by_any_program(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/a.db")
    lease = await acquired(store, "s")
    await store.tables.create_table(PRICES)
    rows = [(1, Decimal("10")), (2, Decimal("-9.50")), (3, None), (4, Decimal("9.5"))]
    await store.recorder.record(work_of(lease, 1, (RowChange(PRICES, rows),)))
    sorted_rows = await store.tables.select(PRICES, order=[SortOrder("price")])
    await store.close()
    program = apsw.Connection(f"{tmp_path}/a.db")

    program.execute("VACUUM")
    program.execute("ANALYZE")

    assert program.execute("PRAGMA integrity_check").get == "ok"
    assert program.execute("SELECT id, price FROM prices ORDER BY fait_order_price").fetchall() == [
        (3, None), (2, "-9.50"), (4, "9.5"), (1, "10"),
    ]  # fmt: skip
    assert [row[0] for row in sorted_rows] == [3, 2, 4, 1]
    plan = program.execute("EXPLAIN QUERY PLAN SELECT id FROM prices ORDER BY fait_order_price").fetchall()
    assert "USING COVERING INDEX" in str(plan)
    program.close()
