"""An append inside a transaction that somebody else began: a conversation of statements and rows, without any I/O.

Whoever holds the connection runs it, with or without an event loop, and in whatever driver:

    conversation = append(writes)
    ask = next(conversation)                 # a statement and its values
    ask = conversation.send(rows)            # … until StopIteration brings the verdict
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, NamedTuple

from fait._events.append import AppendResult

__all__ = ["Rows", "Statement", "StatementProtocol", "run", "run_async"]

Rows = Sequence[Sequence[Any]]


class Statement(NamedTuple):
    """A statement to run; `?` stands for its values, and occurs in it for nothing else."""

    sql: str
    values: tuple[Any, ...] = ()


StatementProtocol = Generator[Statement, Rows, AppendResult]


def run(conversation: StatementProtocol, run: Callable[[Statement], Rows]) -> AppendResult:
    """Run a conversation to its end."""
    try:
        ask = next(conversation)
        while True:
            ask = conversation.send(run(ask))
    except StopIteration as end:
        return end.value


async def run_async(conversation: StatementProtocol, run: Callable[[Statement], Awaitable[Rows]]) -> AppendResult:
    """Run a conversation to its end, with a driver that waits."""
    try:
        ask = next(conversation)
        while True:
            ask = conversation.send(await run(ask))
    except StopIteration as end:
        return end.value
