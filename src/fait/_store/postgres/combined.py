"""Runs several statements of the `sql` folder as one SELECT: in one round trip, and on one snapshot.

    SELECT (SELECT json_agg(ROW(t.*)) FROM (statement 1) AS t), (SELECT json_agg(ROW(t.*)) FROM (statement 2) AS t)

For the few places where round trips count and rows do not: opening a store and an app. The rows arrive as JSON, so a
statement must return texts, numbers, booleans and NULL.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from fait._store.postgres.connection import Database, PostgresConnection

__all__ = ["Answered", "fetch_combined"]

_Rows = list[tuple[Any, ...]]


async def fetch_combined(
    database: Database, connection: PostgresConnection, statements: Mapping[str, Sequence[Any]]
) -> dict[str, _Rows]:
    """Return the rows of each statement.

    Args:
        database: the database, with the statements.
        connection: the connection to use.
        statements: names of statements, and the values of their parameters.
    """
    parts, offset = list[str](), 0
    for name, values in statements.items():
        statement = _shift_parameters(database.sql[name].rstrip().removesuffix(";"), offset)
        parts.append(f"(SELECT json_agg(ROW(t.*)) FROM ({statement}\n) AS t)")  # noqa: S608 - of the sql folder
        offset += len(values)
    [answers] = await connection.fetch(f"SELECT {', '.join(parts)}", *chain.from_iterable(statements.values()))
    return {name: _rows(answer) for name, answer in zip(statements, answers, strict=True)}


def _shift_parameters(sql: str, offset: int) -> str:
    # The name of the schema is quoted, and may contain $1.
    return re.sub(r'"[^"]*"|\$(\d+)', lambda match: f"${int(match[1]) + offset}" if match[1] else match[0], sql)


def _rows(answer: str | None) -> _Rows:
    return [tuple(row.values()) for row in msgspec.json.decode(answer or "[]", type=list[dict[str, Any]])]


class Answered:
    """A connection that has the rows of some statements already, and sends only others.

    So the checks of a store need not know how many round trips their facts took.
    """

    def __init__(self, database: Database, connection: PostgresConnection, answers: Mapping[str, _Rows]) -> None:
        self._connection = connection
        self._answers = {database.sql[name]: rows for name, rows in answers.items()}

    async def fetch(self, sql: str, *values: Any) -> Sequence[Any]:
        """Return the rows of a statement."""
        answer = self._answers.get(sql)
        return await self._connection.fetch(sql, *values) if answer is None else answer

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """Return the first value of the first row of a statement; None if there is no row."""
        return next((row[0] for row in await self.fetch(sql, *values)), None)
