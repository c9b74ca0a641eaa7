"""Appends inside a transaction of the application: a generator of SQL statements, without I/O.

The owner of the connection runs the statements, with any driver, synchronously or not:

    protocol = append(writes)
    statement = next(protocol)
    while True:
        statement = protocol.send(execute(statement))  # until StopIteration, whose value is the append result
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, NamedTuple

from fait._events.append import AppendResult

__all__ = ["FindProtocol", "Rows", "Statement", "StatementProtocol", "run", "run_async"]

Rows = Sequence[Sequence[Any]]


class Statement(NamedTuple):
    """A SQL statement and the values of its parameters. Outside of quotes, `?` is always a placeholder."""

    sql: str
    values: tuple[Any, ...] = ()


StatementProtocol = Generator[Statement, Rows, AppendResult]
"""Yields statements, is sent their rows, and returns the append result."""

FindProtocol = Generator[Statement, Rows, list[tuple[str, str]]]
"""Yields statements, is sent their rows, and returns stream and metadata of each stored event."""


def run(protocol: StatementProtocol, execute: Callable[[Statement], Rows]) -> AppendResult:
    """Run a statement protocol to its end and return the append result."""
    try:
        statement = next(protocol)
        while True:
            statement = protocol.send(execute(statement))
    except StopIteration as end:
        return end.value


async def run_async(protocol: StatementProtocol, execute: Callable[[Statement], Awaitable[Rows]]) -> AppendResult:
    """Run a statement protocol to its end with an asynchronous driver and return the append result."""
    try:
        statement = next(protocol)
        while True:
            statement = protocol.send(await execute(statement))
    except StopIteration as end:
        return end.value
