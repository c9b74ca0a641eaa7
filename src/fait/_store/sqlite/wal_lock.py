"""Keeps other processes from deleting the WAL of an open store, even if this process loses its POSIX locks.

Closing any descriptor of a file releases all POSIX locks that the process has on it: `shutil.copy` of an open store is
enough. The next process that closes the store then considers itself the last one, and deletes the WAL that this process
writes to. On Linux, a lock can belong to an open file description instead. This module holds such locks, in addition to
those of SQLite, on the same bytes and in the same shared mode.
"""

import os
import struct
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from typing import Final

if sys.platform == "linux":
    import fcntl

__all__ = ["FileId", "WalLock", "close_descriptors", "open_files"]

FileId = tuple[int, int]
"""Device and inode of a file."""

_SHARED_BYTES: Final = (0x40000002, 510)
"""Start and number of the bytes of a database file that SQLite locks exclusively before it deletes the WAL."""

_LAST_USER_BYTE: Final = (128, 1)
"""The byte of a shared-memory file that SQLite locks exclusively before it resets the file as its first user."""

_mutex: Final = threading.Lock()
_unclosed: Final[list[int]] = []
"""Descriptors without locks. Each is closed once SQLite has no descriptor of its file, whose locks would be lost."""


class WalLock:
    """Shared locks on a database file and its shared-memory file, from the creation of this object until `release`.

    Does nothing on systems other than Linux, and if a lock cannot be acquired.

    Args:
        path: path of the database file, without symbolic links. A connection to it must be open.

    Attributes:
        descriptor: a descriptor of the database file, for reading it without releasing the locks of SQLite; None if
            there is none.
    """

    def __init__(self, path: str) -> None:
        self.descriptor: int | None = None
        self._descriptors: list[int] = []
        if sys.platform == "linux":
            for file, start, length in ((path, *_SHARED_BYTES), (f"{path}-shm", *_LAST_USER_BYTE)):
                with suppress(OSError):
                    self._descriptors.append(os.open(file, os.O_RDONLY))
                    self.descriptor = self._descriptors[-1] if file == path else self.descriptor
                    # fault: wal-unlocked
                    _lock_shared(self._descriptors[-1], start, length)

    def release(self) -> None:
        """Release the locks. Call this before the last connection is closed, because SQLite then deletes the WAL."""
        for descriptor in self._descriptors:
            _unlock(descriptor)
        with _mutex:
            _unclosed.extend(self._descriptors)
        self._descriptors, self.descriptor = [], None


def close_descriptors() -> None:
    """Close the descriptors of released locks, except for files that this process still has open otherwise."""
    with _mutex:
        others = open_files(except_for=_unclosed) if _unclosed else set[FileId]()
        for descriptor in list(_unclosed):
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) not in others:
                _unclosed.remove(descriptor)
                os.close(descriptor)


def open_files(*, except_for: Collection[int] = ()) -> set[FileId]:
    """Return the files that this process has open, except for those of some descriptors; none on Windows."""
    files = set[FileId]()
    with suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):
                if int(name) not in except_for:
                    status = os.fstat(int(name))
                    files.add((status.st_dev, status.st_ino))
    return files


def _lock_shared(descriptor: int, start: int, length: int) -> None:
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock_request(fcntl.F_RDLCK, start, length))


def _unlock(descriptor: int) -> None:
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock_request(fcntl.F_UNLCK, 0, 0))


def _lock_request(kind: int, start: int, length: int) -> bytes:
    """Return the C structure `flock`, whose process id must be 0."""
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, start, length, 0)
