"""Prevents silent data loss: a file must not be open through two copies of SQLite in one process, or across a fork.

POSIX locks belong to the process, and closing any descriptor of a file releases all of them. The `apsw` wheel contains
its own SQLite library; the standard library's `sqlite3` uses another. Each would release the locks of the other,
consider itself the last user of the file, and delete the WAL that the other still writes to. Other processes have their
own locks and are safe.

A forked child inherits from its parent the tables in which SQLite notes the locks of its process, but not the locks. A
connection that the child opens to the same file would rely on locks that do not exist: the parent, when it closes the
file, would delete the WAL that the child still writes to. SQLite documents both in "How To Corrupt An SQLite Database
File".
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from fait._errors import UsageError
from fait._store.sqlite.wal_lock import FileId, close_descriptors, open_files

__all__ = ["claim", "release"]

T = TypeVar("T")

_claimed: Final[dict[FileId, int]] = {}
"""Open files, by device and inode, with the number of stores that have each one open."""

_inherited: Final[set[FileId]] = set()
"""Files that were open in the parent when this process was forked, or in a parent of it."""

_hook_installed: Final[list[bool]] = []
_lock: Final = threading.Lock()


def _after_fork() -> None:
    _inherited.update(_claimed)
    _claimed.clear()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork)


def claim(path: str, open_connection: Callable[[], T]) -> tuple[T, FileId]:
    """Open a file and, until `release`, reject `sqlite3.connect` to it in this process.

    Returns:
        The connection, and the file id to pass to `release`.

    Raises:
        UsageError: another copy of SQLite has the file open in this process, or the parent of this process had it open
            at the fork.
    """
    with _lock:
        if not _hook_installed:  # an audit hook cannot be removed, so it is added once per process
            _hook_installed.append(True)
            sys.addaudithook(_audit_hook)
        _check_not_open(path)
        connection = open_connection()
        file = _file_id(path)
        assert file is not None
        _claimed[file] = _claimed.get(file, 0) + 1
        return connection, file


def release(file: FileId) -> None:
    """Undo one `claim`: after the last one, `sqlite3` may open the file."""
    with _lock:
        _claimed[file] -= 1
        if not _claimed[file]:
            del _claimed[file]
        close_descriptors()


def _check_not_open(path: str) -> None:
    file = _file_id(path)
    # fault: file-opened-across-fork
    if file in _inherited:
        raise UsageError(_inherited_message(path))
    if file is None or file in _claimed:
        return
    close_descriptors()
    if file in open_files():
        raise UsageError(_message(path))


def _audit_hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect" and (_claimed or _inherited) and (path := _path(arguments[0])):
        file = _file_id(path)
        if file in _claimed:
            raise UsageError(_message(path))
        if file in _inherited:
            raise UsageError(_inherited_message(path))


def _path(database: Any) -> str | None:
    try:
        database = os.fsdecode(database)
    except TypeError:
        return None
    if not database.startswith("file:"):
        return database
    path = unquote(database.removeprefix("file:").partition("?")[0].partition("#")[0])
    return path.removeprefix("//localhost") if path.startswith("//localhost/") else path


def _file_id(path: str) -> FileId | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino)


def _message(path: str) -> str:
    return (
        f"{path} cannot be open through two copies of SQLite in one process: that of fait (apsw) and another one, such "
        "as the standard library's sqlite3. Closing one connection would release the locks of the other, and commits "
        "could be lost. The file was not opened, and nothing was written. Use sqlite3 in another process, use apsw in "
        "this one, or close the first connection before you open the second."
    )


def _inherited_message(path: str) -> str:
    return (
        f"{path} was open in the parent process when this process was forked. SQLite cannot open it here: it would "
        "rely on locks of the parent, and commits could be lost. The file was not opened, and nothing was written. "
        'Start this process with "spawn", as in multiprocessing.get_context("spawn"), or fork it before the parent '
        "opens the file."
    )
