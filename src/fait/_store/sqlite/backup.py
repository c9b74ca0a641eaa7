"""Copies an SQLite store that may be in use, as of one moment.

A copy of the file alone lacks the commits that are still in its WAL. SQLite's backup API reads both. The copy gets its
name only when it is complete, synced and checked, so an interrupted backup leaves no file that looks like one. If the
process is killed, the next backup to the same name removes its partial copy.
"""

import os
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw

from fait._errors import StoreUnavailable, UsageError
from fait._store.sqlite.connection import SqliteConnection, connect, map_error
from fait._store.sqlite.multi_driver_guard import claim, release
from fait._store.sqlite.statements import SQL
from fait._telemetry import logger

__all__ = ["back_up"]

PAGES_PER_STEP: Final = 1024
"""Number of pages to copy between two progress reports, after which the backup can be canceled."""


def back_up(path: str, target: str, on_progress: Callable[[int, int], None], canceled: threading.Event) -> int:
    """Copy a store.

    Args:
        path: the store's file.
        target: the file to create.
        on_progress: called with the number of copied pages, and that of all pages.
        canceled: when set, the backup ends soon, and creates nothing.

    Returns:
        The position of the last event in the copy.

    Raises:
        UsageError: the target exists.
        StoreUnavailable: the store cannot be read, or the copy cannot be written or is damaged. Nothing was created.
    """
    if os.path.lexists(target):
        raise _exists(target)
    _remove_abandoned(target)
    partial_file = f"{target}.partial-{os.getpid()}"
    try:
        with _reader(path) as source:
            expected = _summary(source)
            _copy(source, partial_file, on_progress, canceled)
        # fault: backup-unchecked
        _check_copy(partial_file, expected)
        _publish(partial_file, target)
    except apsw.Error as error:
        raise map_error(error, path) from error
    except OSError as error:
        raise StoreUnavailable(f"{target} cannot be written ({error.strerror}).") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial_file)
    return expected[0]


def _remove_abandoned(target: str) -> None:
    """Remove the partial copies of backups whose processes no longer run, with the files of SQLite next to them."""
    path = Path(target)
    name = re.compile(re.escape(path.name) + r"\.partial-(\d+)(?:-\w+)?")
    for each in list(path.parent.glob("*.partial-*")):
        # fault: partial-backup-of-another-process-removed
        if (match := name.fullmatch(each.name)) and not _is_running(int(match[1])):
            each.unlink(missing_ok=True)
            logger.warning("removed %s: the process of that backup no longer runs", each)


def _is_running(process: int) -> bool:
    """Return whether a process other than this one has an id."""
    if process == os.getpid():  # it has ended: in a container, the next process often has the same id
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _reader(path: str) -> Generator[SqliteConnection]:
    """Yield a connection in a read transaction, so that appends during the backup do not restart it."""
    connection, file = claim(path, partial(connect, path))
    try:
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()
        release(file)


def _summary(connection: SqliteConnection) -> tuple[int, Any]:
    return connection.execute(SQL["head"]).get, connection.execute(SQL["identity"]).get


def _copy(
    source: SqliteConnection, target: str, on_progress: Callable[[int, int], None], canceled: threading.Event
) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o600))
    destination: Any = apsw.Connection(target)
    try:
        destination.pragma("synchronous", "OFF")  # the complete file is synced once
        with destination.backup("main", source, "main") as backup:
            while not backup.done and not canceled.is_set():
                backup.step(PAGES_PER_STEP)
                on_progress(backup.page_count - backup.remaining, backup.page_count)
        if not canceled.is_set():  # no process of the store works in the copy
            destination.execute(SQL["free_ranges"], (None,))
            destination.execute(SQL["delete_workers"])
    finally:
        destination.close()
    if canceled.is_set():
        raise StoreUnavailable(f"the backup to {target} was canceled.")


def _check_copy(copy: str, expected: tuple[int, Any]) -> None:
    connection: Any = apsw.Connection(copy)
    try:
        errors = [text for (text,) in connection.execute("PRAGMA quick_check(1)")]
        if errors != ["ok"] or _summary(connection) != expected:
            raise StoreUnavailable(
                f"the backup was read again and differs from the store ({errors[0]}). No backup was created. Check the "
                "store with: fait doctor. Check the disks of the store and of the backup."
            )
    finally:
        connection.close()


def _publish(copy: str, target: str) -> None:
    """Sync the copy and give it its name, unless another file has got that name."""
    with open(copy, "rb+") as file:
        os.fsync(file.fileno())
    try:
        os.link(copy, target)
    except FileExistsError:
        raise _exists(target) from None
    if os.name == "posix":
        folder = os.open(os.path.dirname(target) or ".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _exists(target: str) -> UsageError:
    return UsageError(f"{target} exists. Nothing was written. Choose the name of a new file, or delete this one.")
