"""A guard against a way to lose data that no error shows: one file open through two copies of SQLite in one process.

POSIX locks belong to a process, and closing any handle of a file drops them all. `apsw` brings a SQLite of its own, the
standard library's `sqlite3` is another: each would unlock the other's file, take itself for its last user, and
delete the write-ahead log that the other is still writing to. Other processes are safe: their locks are their own.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from fait._errors import UsageError

__all__ = ["File", "claim", "release"]

T = TypeVar("T")

File = tuple[int, int]

_guarded: Final[dict[File, int]] = {}
"""Files open here, by device and inode, and how many stores hold each."""

_hooked: Final[list[bool]] = []
_lock: Final = threading.Lock()


def claim(path: str, open_connection: Callable[[], T]) -> tuple[T, File]:
    """Open a file that nothing else in this process has open, and from now on refuse `sqlite3.connect` to it.

    Returns the connection, and what `release` takes.
    """
    with _lock:
        if not _hooked:  # a hook cannot be removed, so there is one for the whole process
            _hooked.append(True)
            sys.addaudithook(_watch)
        _refuse_open_elsewhere(path)
        connection = open_connection()
        file = _file(path)
        assert file is not None
        _guarded[file] = _guarded.get(file, 0) + 1
        return connection, file


def release(file: File) -> None:
    """Forget a file, once the last store that held it is closed."""
    with _lock:
        _guarded[file] -= 1
        if not _guarded[file]:
            del _guarded[file]


def _refuse_open_elsewhere(path: str) -> None:
    file = _file(path)
    if file is None or file in _guarded:
        return
    for name in _handles():
        try:
            status = os.fstat(int(name))
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == file:
            raise UsageError(_advice(path))


def _handles() -> list[str]:
    try:
        return os.listdir("/dev/fd")
    except OSError:
        return []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect" and _guarded:
        path = _path(arguments[0])
        if path and _file(path) in _guarded:
            raise UsageError(_advice(path))


def _path(database: Any) -> str | None:
    try:
        database = os.fsdecode(database)
    except TypeError:
        return None
    return database.removeprefix("file:").partition("?")[0] if database.startswith("file:") else database


def _file(path: str) -> File | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino)


def _advice(path: str) -> str:
    return (
        f"{path} is, or would be, open in this process through two copies of SQLite: the one fait uses (apsw) and "
        "another, such as the standard library's sqlite3. Each would drop the other's locks, and commits would be "
        "lost. Nothing "
        "was opened or written. Open it from another process, use apsw here, or close one before opening the other."
    )
