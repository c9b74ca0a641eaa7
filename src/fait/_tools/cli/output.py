"""What a command prints: tables for people, tab-separated lines for pipes, JSON for programs; and how it ends.

Standard output holds results and nothing else; progress and problems go to standard error. Exit codes: 0 all well,
1 a finding or a failure, 2 a call that cannot be meant, 130 interrupted.
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fait._errors import FaitError, UsageError

__all__ = [
    "INTERRUPTED",
    "CommandFailed",
    "command",
    "escape_controls",
    "print_fields",
    "print_json",
    "print_line",
    "print_message",
    "print_table",
    "stderr_console",
]

P = ParamSpec("P")

INTERRUPTED: Final = 130

# Terminals obey C0 and C1 controls; bidirectional marks and line separators show text other than it is.
_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class CommandFailed(FaitError):
    """A command could not do what it was asked for."""


def escape_controls(text: str) -> str:
    """The text with everything that a terminal would obey, or hide, shown as an escape: all from a log passes here."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_message(text: str) -> None:
    """Say something that is not the result, on standard error."""
    print("\n".join(escape_controls(each) for each in text.split("\n")), file=sys.stderr)


def print_line(text: str) -> None:
    """Print one line of the result."""
    print(escape_controls(text))


def print_json(value: object) -> None:
    """Print a value as one line of JSON. What a terminal would obey is escaped, as JSON allows inside of texts."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=-1)
    print(escape_controls(data.decode()))


def print_fields(values: Mapping[str, str]) -> None:
    """Print names and values, one pair a line."""
    if not is_terminal():
        return _tab_separated(values.items())
    grid = Table.grid(padding=(0, 2))
    for name, value in values.items():
        grid.add_row(Text(escape_controls(name), style="bold"), Text(escape_controls(value), overflow="fold"))
    return _console().print(grid)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: folded into the width of a terminal, or tab-separated and whole where there is none."""
    if not is_terminal():
        return _tab_separated([columns, *rows])
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(escape_controls(cell)) for cell in row))
    return _console().print(shown)


def is_terminal() -> bool:
    """Whether a person sees the result at once."""
    return sys.stdout.isatty()


def stderr_console() -> Console:
    """Where progress is drawn."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def command(run: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """An async function as a command: errors become one message and an exit code."""

    @wraps(run)
    def started(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(run(*args, **kwargs))
        except FaitError as problem:
            print_message(f"fait: {problem}")
            raise typer.Exit(2 if isinstance(problem, UsageError) else 1) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever reads has seen enough. Python must not try to flush the pipe once more when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as problem:
            print_message(f"fait: {problem.filename or 'the operating system'}: {problem.strerror}")
            raise typer.Exit(1) from None

    return started


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _tab_separated(rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        print(*(escape_controls(cell) for cell in row), sep="\t")
