"""Planted faults: their description, the markers that anchor them in the code, and prefixes of test ids.

A marker is a comment line directly above the code that the fault replaces: `# fault: NAME` in Python, `-- fault: NAME`
in SQL. A name occurs once in `src/fait`. Markers of several faults may be stacked; the code begins on the next line.

In Python the fault replaces the statement that begins on that line. Of a compound statement it replaces only the
header: all lines before the first statement of its body. An `elif` counts as a statement, as in the syntax tree.

In SQL the fault replaces one line, or as many as `Mutant.lines` says.
"""

import ast
from textwrap import indent
from typing import NamedTuple

LOG = "tests/contract/test_stores.py::TestSqliteLog::test_"
PORTS = "tests/contract/test_stores.py::TestSqlitePorts::test_"
MEMORY = "tests/contract/test_stores.py::TestMemoryLog::test_"
RUNNING = "tests/contract/test_stores.py::TestMemorySubscriptions::test_"
RETENTION = "tests/contract/test_retention.py::TestSqliteRetention::test_"
POSTGRES = "tests/contract/test_stores.py::TestPostgres"
INTERLEAVINGS = "tests/interleavings/test_interleavings.py::test_no_schedule_violates_a_guarantee"
APPENDS = "tests/store/test_postgres_appends.py::test_"
SCHEMA = "tests/store/test_postgres_schema.py::test_"
GROUP_COMMIT = "tests/store/test_group_commit.py::test_"
MOVED = "tests/store/test_postgres_moved_log.py::test_"
HIGH_WATER_MARK = "tests/store/test_high_water_mark.py::test_"
SQLITE_INLINE = "tests/store/test_sqlite_inline.py::test_"
BATCHES = "tests/subscriptions/test_batches.py::test_"
DETAILS = "::TestInPostgres::test_"
ASYNCPG = "tests/outbox/test_asyncpg.py::TestAsyncpg::test_"
PROPERTY = "tests/property/test_log.py::test_a_log_answers_as_the_reference_does[sqlite]"


class Mutant(NamedTuple):
    """A planted fault.

    Attributes:
        fault: the defect, as a sentence.
        file: the path below `src/fait`.
        marker: the name in the marker comment.
        new: the complete replacement, without its indentation; empty to delete lines of SQL.
        test: the id of the test that must fail.
        lines: number of lines to replace; only for SQL.
    """

    fault: str
    file: str
    marker: str
    new: str
    test: str
    lines: int = 1

    @property
    def is_python(self) -> bool:
        return self.file.endswith(".py")


class MarkerError(Exception):
    """A marker does not occur exactly once, or no statement follows it."""


def plant(text: str, mutant: Mutant) -> str:
    """Return the text of a file with the fault in it."""
    lines = text.splitlines(keepends=True)
    sign = "# fault:" if mutant.is_python else "-- fault:"
    marker = f"{sign} {mutant.marker}"
    places = [number for number, line in enumerate(lines) if line.strip() == marker]
    if len(places) != 1:
        raise MarkerError(f"`{marker}` occurs {len(places)} times in {mutant.file}, not once")
    start = places[0]
    while lines[start].strip().startswith(sign):
        start += 1
    end = _statement_end(text, start) if mutant.is_python else start + mutant.lines
    margin = lines[start].removesuffix(lines[start].lstrip())
    lines[start:end] = [indent(mutant.new, margin) + "\n"] if mutant.new else []
    return "".join(lines)


def _statement_end(text: str, start: int) -> int:
    """Index of the line after the statement, or after its header, that begins at index `start`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt) and node.lineno == start + 1:
            body: list[ast.stmt] = getattr(node, "body", [])
            return body[0].lineno - 1 if body else node.end_lineno or 0
    raise MarkerError(f"no statement begins on line {start + 1}")
