"""SQLite looks up given keys by an index on all of their columns, however many rows there are."""

from pathlib import Path

import apsw
import pytest

import fait
from fait._store.sqlite.statements import SQL

LOOKUPS = {
    "delete_failures": "subscription=? AND generation=? AND key=?",
    "delete_messages": "rowid=?",
    "delete_tags": "tag=? AND position=?",
    "failure_states": "subscription=? AND generation=? AND key=?",
    "find_events": "id=?",
    "inbox_marks": "consumer=? AND source=? AND key=?",
    "known_ids": "consumer=? AND source=? AND id=?",
    "load_snapshots": "stream=?",
    "stream_ends": "stream=? AND version=?",
}
"""Columns by which each statement finds its rows."""


@pytest.mark.parametrize("statement", LOOKUPS)
async def test_rows_of_given_keys_are_found_by_an_index(tmp_path: Path, statement: str) -> None:
    async with fait.App("shop").open(f"sqlite:///{tmp_path}/shop.db"):
        pass
    values = {str(number): None for number in range(1, 10)}
    plan = apsw.Connection(f"{tmp_path}/shop.db").execute(f"EXPLAIN QUERY PLAN {SQL[statement]}", values)

    steps = [str(detail) for *_, detail in plan]
    assert any(each.startswith("SEARCH") and each.endswith(f"({LOOKUPS[statement]})") for each in steps), steps
