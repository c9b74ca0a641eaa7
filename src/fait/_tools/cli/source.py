"""Reads an untrusted JSONL file, plain or gzipped, line by line.

Limits on line length and decompressed size bound memory and time. The file is never held in memory.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import Struct

from fait._tools.cli.output import CommandFailed

__all__ = ["MAX_LINE_BYTES", "LineSource", "RawLine"]

MAX_LINE_BYTES: Final = 2 << 20
"""Maximum length of a line: twice the largest event."""

MAX_DECOMPRESSION_RATIO: Final = 200
"""Maximum ratio of decompressed to compressed bytes of a gzipped file."""

RATIO_CHECK_THRESHOLD_BYTES: Final = 64 << 20
"""Minimum number of decompressed bytes before the ratio is checked."""

_MAX_EXCERPT_BYTES: Final = 1000
"""Maximum number of bytes returned of a line that is too long."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"


class RawLine(Struct, frozen=True):
    """A line of a file.

    Attributes:
        number: line number, from 1.
        data: the line without its line ending; only the beginning if it is too long.
        too_long: whether the line exceeds `MAX_LINE_BYTES`.
    """

    number: int
    data: bytes
    too_long: bool


class LineSource:
    """An iterable over the lines of a file.

    Args:
        path: the file, plain or gzipped; the content decides. A pipe must be plain.
        max_decompressed_bytes: maximum size of a gzipped file after decompression.

    Raises:
        CommandFailed: the path is a gzipped pipe.

    Attributes:
        size_bytes: size of the file; 0 for a pipe.
    """

    def __init__(self, path: Path, max_decompressed_bytes: int) -> None:
        self._path = path
        self._max_decompressed_bytes = max_decompressed_bytes
        self._raw = path.open("rb")
        self.size_bytes = os.fstat(self._raw.fileno()).st_size
        self._is_gzip = self._raw.peek(2)[:2] == _GZIP_MAGIC
        if self._is_gzip and not self._raw.seekable():  # the ratio below needs the number of compressed bytes
            self._raw.close()
            raise CommandFailed(f"{path}: a pipe cannot be gzipped. Decompress the data with gunzip before the pipe.")
        self._lines = io.BufferedReader(gzip.GzipFile(fileobj=self._raw)) if self._is_gzip else self._raw
        self._decompressed_bytes = 0
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._raw.close()

    @property
    def read_bytes(self) -> int:
        """Number of bytes of the file that have been read."""
        return self._raw.tell() if self._raw.seekable() else self._decompressed_bytes

    def __iter__(self) -> Iterator[RawLine]:
        """Iterate over the lines that are not blank."""
        while chunk := self._read(MAX_LINE_BYTES + 2):
            self._number += 1
            data = chunk.rstrip(b"\r\n")
            too_long = len(data) > MAX_LINE_BYTES
            while not chunk.endswith(b"\n") and (chunk := self._read(MAX_LINE_BYTES)):
                too_long = True
            if self._number == 1:
                data = data.removeprefix(_BOM)
            if data.strip():
                yield RawLine(self._number, data[:_MAX_EXCERPT_BYTES] if too_long else data, too_long)

    def _read(self, limit: int) -> bytes:
        try:
            chunk = self._lines.readline(limit)
        except (EOFError, OSError, zlib.error) as error:
            if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
                raise
            raise CommandFailed(
                f"{self._path}: gzip data is damaged or truncated after line {self._number}. Get a complete copy "
                "of the file and run the same command again."
            ) from None
        self._decompressed_bytes += len(chunk)
        if self._is_gzip:
            self._check_decompression()
        return chunk

    def _check_decompression(self) -> None:
        if self._decompressed_bytes > self._max_decompressed_bytes:
            raise CommandFailed(
                f"{self._path}: decompressed size exceeds {self._max_decompressed_bytes:,} bytes at line "
                f"{self._number}. If the file is trustworthy, raise the limit with --max-decompressed."
            )
        if (
            self._decompressed_bytes > RATIO_CHECK_THRESHOLD_BYTES
            and self._decompressed_bytes > MAX_DECOMPRESSION_RATIO * max(self.read_bytes, 1)
        ):
            raise CommandFailed(
                f"{self._path}: decompresses to more than {MAX_DECOMPRESSION_RATIO} times its size up to line "
                f"{self._number}, like a decompression bomb. If the file is trustworthy, decompress it with gunzip and "
                "import the result."
            )
