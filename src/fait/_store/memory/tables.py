"""The tables of read models in memory, and conditions and sort orders in plain Python."""

from collections.abc import Callable, Sequence
from functools import cmp_to_key
from typing import Any

from fait._store.memory.state import MemoryState
from fait._store.ports.tables import ColumnCondition, Row, SortOrder, Table

__all__ = ["MemoryTables"]


class MemoryTables:
    """The port `Tables`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def create_table(self, table: Table) -> None:
        self._state.tables.setdefault(table.name, {})

    async def rows(self, table: Table, keys: Sequence[Any]) -> list[Row]:
        rows = self._state.rows_of(table.name)
        return [rows[key] for key in dict.fromkeys(keys) if key in rows]

    async def select(
        self,
        table: Table,
        where: Sequence[ColumnCondition] = (),
        *,
        order: Sequence[SortOrder] = (),
        after_row: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        predicates = [_predicate(table, condition) for condition in where]
        compare = _comparison(table, order)
        rows = [row for row in self._state.rows_of(table.name).values() if all(holds(row) for holds in predicates)]
        rows.sort(key=cmp_to_key(compare))
        if after_row is not None:
            last: list[Any] = [None] * len(table.columns)
            for each, value in zip(order, after_row, strict=True):
                last[table.index_of(each.column)] = value
            rows = [row for row in rows if compare(row, tuple(last)) > 0]
        return rows[:limit]


_OPERATORS: dict[str, Callable[[Any, tuple[Any, ...]], bool]] = {
    "=": lambda value, operands: value == operands[0],
    "!=": lambda value, operands: value != operands[0],
    "<": lambda value, operands: value is not None and value < operands[0],
    "<=": lambda value, operands: value is not None and value <= operands[0],
    ">": lambda value, operands: value is not None and value > operands[0],
    ">=": lambda value, operands: value is not None and value >= operands[0],
    "in": lambda value, operands: value in operands,
    "between": lambda value, operands: value is not None and operands[0] <= value <= operands[1],
}


def _predicate(table: Table, condition: ColumnCondition) -> Callable[[Row], bool]:
    index, compare, values = table.index_of(condition.column), _OPERATORS[condition.operator], condition.values
    if None in values and condition.operator not in ("=", "!=", "in"):
        return lambda _: False  # no value is less or greater than None
    return lambda row: compare(row[index], values)


def _comparison(table: Table, order: Sequence[SortOrder]) -> Callable[[Row, Row], int]:
    columns = [(table.index_of(each.column), -1 if each.descending else 1) for each in order]

    def compare(one: Row, other: Row) -> int:
        for index, sign in columns:
            a, b = one[index], other[index]
            if a != b:
                smaller = a is None or (b is not None and a < b)  # None is less than any other value
                return -sign if smaller else sign
        return 0

    return compare
