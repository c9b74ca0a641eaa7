"""Detects that the files which a store has open are no longer those that its path names.

If the file or its WAL is deleted, moved or replaced, SQLite continues to read and write the open ones. A commit in them
succeeds, but no other process ever sees it. SQLite compares the file with that at its path after each commit, which
takes half a microsecond. All files are compared at intervals, before writes and after reads. So is the content of the
file (`file_content`), also before a WAL checkpoint, which would make an overwritten file look like the open one.

`wal_lock` prevents the most likely cause: that another process deletes the WAL.
"""

import os
from array import array
from typing import Final, Literal

import apsw

from fait._errors import StoreUnavailable
from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.file_content import FileContent
from fait._store.sqlite.wal_lock import FileId, WalLock

__all__ = ["CHECK_INTERVAL_S", "OpenFile"]

CHECK_INTERVAL_S: Final = 0.01
"""Minimum interval between the comparisons of all files."""


class OpenFile:
    """The files that a store has open, and the locks that protect its WAL. The threads of the store share it.

    Args:
        path: path of the file.
        connection: an open connection to it.

    Attributes:
        is_overwritten: whether a comparison has found other content in the file.

    Raises:
        StoreUnavailable: one of the files does not exist any more.
    """

    def __init__(self, path: str, connection: SqliteConnection) -> None:
        self._path = os.path.abspath(path)  # the working directory may change
        self._real_path = connection.filename  # SQLite resolves symbolic links
        self._has_moved = array("i", [0])
        self._address = self._has_moved.buffer_info()[0]
        self._next_check = 0.0
        self._is_lost = False
        self.is_overwritten = False
        self._opened = self._identities()
        if None in self._opened:
            raise self._lost("not_written")
        self._wal_lock = WalLock(self._real_path)
        descriptor = self._wal_lock.descriptor
        self._content = None if descriptor is None else FileContent(descriptor, connection)

    def check(self, now: float) -> None:
        """Compare all files, unless this was done within the last `CHECK_INTERVAL_S`.

        Args:
            now: `time.perf_counter()`, which the caller may need anyway.

        Raises:
            StoreUnavailable: they are other files, now or at an earlier comparison. Nothing was written.
        """
        if now >= self._next_check or self._is_lost:
            # fault: moved-file-used
            if self._is_lost or self._identities() != self._opened or self.has_other_content():
                raise self._lost("not_written")
            self._next_check = now + CHECK_INTERVAL_S

    def has_other_content(self) -> bool:
        """Return whether the content of the file was overwritten, now or at an earlier comparison."""
        if self._content is not None and not self.is_overwritten:
            self.is_overwritten = self._content.is_overwritten()
        return self.is_overwritten

    def check_after_commit(self, connection: SqliteConnection) -> None:
        """Compare the file of a connection, without its WAL.

        Raises:
            StoreUnavailable: it is another file. The outcome of the commit is unknown.
        """
        connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, self._address)
        if self._has_moved[0]:
            raise self._lost("unknown")

    def release(self) -> None:
        """Release the locks, before the last connection is closed."""
        self._wal_lock.release()

    def _identities(self) -> tuple[FileId | None, ...]:
        """Identify the files at the path: database, WAL and shared memory."""
        return _identity(self._path), _identity(f"{self._real_path}-wal"), _identity(f"{self._real_path}-shm")

    def _lost(self, outcome: Literal["not_written", "unknown"]) -> StoreUnavailable:
        """Return the error. The store stays unusable: a file that was moved back may have been changed elsewhere."""
        self._is_lost = True
        if self.is_overwritten:
            return StoreUnavailable(
                f"{self._path} was overwritten or truncated while this process had it open, as by copying a backup "
                "over it. SQLite would mix its pages with those of the WAL, so this process reads and writes "
                f"nothing more. Stop all processes that use it, delete {self._real_path}-wal and "
                f"{self._real_path}-shm, copy the backup again, and start them. Events that the backup lacks are lost.",
                outcome,
            )
        return StoreUnavailable(
            f"{self._path} is no longer the file that this process has open: it or its WAL ({self._real_path}-wal) was "
            "deleted, moved or replaced. Other processes would not see what this one writes, so it reads and writes "
            "nothing more. Check both files: move them back, or restore a backup. Then restart this process. To copy a "
            "store that is open, use fait backup.",
            outcome,
        )


def _identity(path: str) -> FileId | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
