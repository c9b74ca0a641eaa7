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

__all__ = ["FileId", "claim", "release"]

T = TypeVar("T")

FileId = tuple[int, int]

_claimed: Final[dict[FileId, int]] = {}
"""Files open here, by device and inode, and how many stores hold each."""

_hook_installed: Final[list[bool]] = []
_lock: Final = threading.Lock()


def claim(path: str, open_connection: Callable[[], T]) -> tuple[T, FileId]:
    """Open a file that nothing else in this process has open, and from now on refuse `sqlite3.connect` to it.

    Returns the connection, and what `release` takes.
    """
    with _lock:
        if not _hook_installed:  # a hook cannot be removed, so there is one for the whole process
            _hook_installed.append(True)
            sys.addaudithook(_audit_hook)
        _check_not_open(path)
        connection = open_connection()
        file = _file_id(path)
        assert file is not None
        _claimed[file] = _claimed.get(file, 0) + 1
        return connection, file


def release(file: FileId) -> None:
    """Forget a file, once the last store that held it is closed."""
    with _lock:
        _claimed[file] -= 1
        if not _claimed[file]:
            del _claimed[file]


def _check_not_open(path: str) -> None:
    file = _file_id(path)
    if file is None or file in _claimed:
        return
    for name in _open_descriptors():
        try:
            status = os.fstat(int(name))
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == file:
            raise UsageError(_message(path))


def _open_descriptors() -> list[str]:
    try:
        return os.listdir("/dev/fd")
    except OSError:
        return []


def _audit_hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect" and _claimed:
        path = _path(arguments[0])
        if path and _file_id(path) in _claimed:
            raise UsageError(_message(path))


def _path(database: Any) -> str | None:
    try:
        database = os.fsdecode(database)
    except TypeError:
        return None
    return database.removeprefix("file:").partition("?")[0] if database.startswith("file:") else database


def _file_id(path: str) -> FileId | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino)


def _message(path: str) -> str:
    return (
        f"{path} is, or would be, open in this process through two copies of SQLite: the one fait uses (apsw) and "
        "another, such as the standard library's sqlite3. Each would drop the other's locks, and commits would be "
        "lost. Nothing "
        "was opened or written. Open it from another process, use apsw here, or close one before opening the other."
    )
