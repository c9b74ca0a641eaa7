"""Recognizes that the content of an open SQLite file was overwritten, as by a backup that is copied over it.

SQLite does not notice this: it combines the new content with the WAL and the pages that it has read before. In WAL mode
a file is changed only by WAL checkpoints, which write newer pages into it. So the counters in its header never
decrease, nor does the number of its pages until VACUUM, which changes a counter; and the id of the log stays in it.

Not recognized: a copy of the same file from a time since which it has not grown, and the file of another store with
larger counters and further tables.
"""

import os
from struct import Struct
from typing import Final, NamedTuple

from fait._store.sqlite.connection import SqliteConnection
from fait._store.sqlite.statements import SQL

__all__ = ["FileContent"]

_HEADER: Final = Struct(">16s8xII8xI8xI")
"""Magic text, change counter, number of pages, schema cookie, largest root page.

See "Database File Format" of SQLite. The last field is 0 unless SQLite removes free pages by itself (auto_vacuum).
"""

_MAGIC: Final = b"SQLite format 3\0"


class _Known(NamedTuple):
    """What was seen in the file. Later on, it has at least this."""

    changes: int = 0
    cookie: int = 0
    pages: int = 0
    size_bytes: int = 0
    cookie_with_log_id: int = -1
    """The schema cookie at which the log's page had its id. VACUUM, which may move the page, changes the cookie."""


class FileContent:
    """What the content of a file must keep while it is open. Several threads may use it.

    Args:
        descriptor: an open descriptor of the file.
        connection: a connection to it.
    """

    def __init__(self, descriptor: int, connection: SqliteConnection) -> None:
        self._descriptor = descriptor
        self._page_bytes: int = connection.pragma("page_size")  # constant in WAL mode
        root, log_id = connection.execute(SQL["log_page"]).get
        self._log_page_start: int = (root - 1) * self._page_bytes
        self._log_id: bytes = log_id.encode()
        self._known = _Known()

    def is_overwritten(self) -> bool:
        """Return whether the content was overwritten since the last call. Reads three pieces of the file."""
        known = self._known  # before the file, which another thread may see later
        # A WAL checkpoint writes the header first. So it is read last: it is not older than the others.
        log_page = os.pread(self._descriptor, self._page_bytes, self._log_page_start)
        size_bytes = os.fstat(self._descriptor).st_size
        header = os.pread(self._descriptor, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            return True
        magic, changes, pages, cookie, auto_vacuum = _HEADER.unpack(header)
        has_log_id = self._log_id in log_page  # from the first WAL checkpoint on
        is_older = changes < known.changes or cookie < known.cookie
        is_vacuumed = auto_vacuum or cookie > known.cookie
        is_shorter = (pages < known.pages and not is_vacuumed) or size_bytes < min(
            known.size_bytes, pages * self._page_bytes
        )
        is_of_another_log = not has_log_id and known.cookie_with_log_id == cookie
        # fault: overwritten-file-used
        if magic != _MAGIC or is_older or is_shorter or is_of_another_log:
            return True
        cookie_with_log_id = cookie if has_log_id else known.cookie_with_log_id
        self._known = _Known(changes, cookie, pages, size_bytes, cookie_with_log_id)
        return False
