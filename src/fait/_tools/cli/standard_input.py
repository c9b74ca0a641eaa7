"""Reads standard input for commands: answers to questions, and files that are given as `-`.

A read blocks the event loop, so asyncio could not end it at a Ctrl-C: it would only cancel the task, which waits. Each
read of a command is in a block of `interruptible`.
"""

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

from fait._tools.cli.output import CommandFailed, print_message

__all__ = ["confirm", "confirm_count", "interruptible", "read_bytes"]


@contextmanager
def interruptible() -> Generator[None]:
    """Let the first Ctrl-C end a read in the block."""
    # fault: question-waits-for-a-second-ctrl-c
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def confirm(question: str) -> None:
    """Ask on standard error, and continue only if the answer is yes.

    Raises:
        CommandFailed: it is another one.
    """
    _check_answer(is_yes=_ask(f"{question} [y/N]").lower() in ("y", "yes"))


def confirm_count(count: int, consequence: str, action: str) -> None:
    """Say on standard error what would happen, and continue only if the number is typed.

    Raises:
        CommandFailed: something else was typed.
    """
    _check_answer(is_yes=_ask(f"{consequence}\nType {count} to {action}:") == str(count))


def read_bytes(limit: int = -1) -> bytes:
    """Read standard input to its end, or up to a number of bytes."""
    with interruptible():
        return sys.stdin.buffer.read(limit)


def _check_answer(*, is_yes: bool) -> None:
    if not is_yes:
        raise CommandFailed("canceled. Nothing was changed.")


def _ask(question: str) -> str:
    with interruptible():  # before the question is seen
        print_message(question)
        return sys.stdin.readline().strip()
