"""Output and exit codes of commands.

A command prints tables to a terminal, tab-separated lines to a pipe, and JSON with `--json`. Standard output holds only
results; progress, notes and errors go to standard error. Exit codes: 0 success, 1 failure or a failed check, 2 invalid
usage, 130 interrupted.
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
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
    "clear_terminal",
    "command",
    "count_of",
    "escape_controls",
    "exit_on_error",
    "print_fields",
    "print_json",
    "print_line",
    "print_message",
    "print_table",
    "stderr_console",
]

P = ParamSpec("P")

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as in shells: 128 plus the number of SIGINT."""

# Terminals execute C0 and C1 control characters. Bidirectional marks and line separators change how text is displayed.
_CONTROLS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class CommandFailed(FaitError):
    """A command failed."""


def escape_controls(text: str) -> str:
    r"""Replace control and invisible characters with `\uXXXX`, so that data from a log cannot control a terminal."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def print_message(text: str) -> None:
    """Print a note or an error to standard error."""
    print("\n".join(escape_controls(line) for line in text.split("\n")), file=sys.stderr)


def print_line(text: str) -> None:
    """Print one line of the result."""
    print(escape_controls(text))


def print_json(value: object) -> None:
    """Print a value as one line of JSON. Control characters stay escaped, as JSON allows inside strings."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=-1)
    print(escape_controls(data.decode()))


def print_fields(values: Mapping[str, str]) -> None:
    """Print names and values, one pair per line."""
    if not is_terminal():
        return _tab_separated(values.items())
    grid = Table.grid(padding=(0, 2))
    for name, value in values.items():
        grid.add_row(Text(escape_controls(name), style="bold"), Text(escape_controls(value), overflow="fold"))
    return _console().print(grid)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, header: bool = True) -> None:
    """Print rows: folded to the width of a terminal, or tab-separated and complete if there is no terminal."""
    if not is_terminal():
        return _tab_separated([columns, *rows] if header else rows)
    table = Table(box=None, pad_edge=False, show_header=header, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(escape_controls(cell)) for cell in row))
    return _console().print(table)


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun in singular or plural."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def clear_terminal() -> None:
    """Clear standard output, if it is a terminal."""
    if is_terminal():
        _console().clear()


def stderr_console() -> Console:
    """The console for progress bars."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def command(run: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Decorate an async function as a command: exceptions become an error message and an exit code."""

    @wraps(run)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        with exit_on_error():
            asyncio.run(run(*args, **kwargs))

    return wrapper


@contextmanager
def exit_on_error() -> Generator[None]:
    """Turn the exceptions of a command into an error message and an exit code."""
    try:
        yield
    except FaitError as error:
        print_message(f"fait: {error}")
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of the pipe has closed it. Prevent Python from flushing standard output again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        print_message(f"fait: {error.filename or 'operating system error'}: {error.strerror or error}")
        raise typer.Exit(1) from None


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _tab_separated(rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        print(*(escape_controls(cell) for cell in row), sep="\t")
