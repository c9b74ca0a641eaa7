"""Reading a JSONL file, plain or gzipped, that nobody vouches for: by the line, within limits, without holding it."""

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
"""Longest line: twice the largest event."""

MAX_EXPANSION_RATIO: Final = 200
EXPANSION_CHECK_FROM_BYTES: Final = 64 << 20
"""A file that expands to more than `MAX_RATIO` times its size is refused once so much of it has been seen."""

_SHOWN_BYTES: Final = 1000
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"


class RawLine(Struct, frozen=True):
    """A line, without its end; of one that is `too_long`, only its beginning."""

    number: int
    data: bytes
    too_long: bool


class LineSource:
    """The lines of a file.

    Attributes:
        size: of the file, in bytes.
    """

    def __init__(self, path: Path, max_expanded: int) -> None:
        self._path = path
        self._max_expanded = max_expanded
        self._raw = path.open("rb")
        self.size = os.fstat(self._raw.fileno()).st_size
        self._is_gzip = self._raw.read(2) == _GZIP
        self._raw.seek(0)
        self._text = io.BufferedReader(gzip.GzipFile(fileobj=self._raw)) if self._is_gzip else self._raw
        self._expanded = 0
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._text.close()
        self._raw.close()

    @property
    def read_bytes(self) -> int:
        """How much of the file has been read."""
        return self._raw.tell()

    def __iter__(self) -> Iterator[RawLine]:
        """All lines that are not blank."""
        while piece := self._read(MAX_LINE_BYTES + 2):
            self._number += 1
            data = piece.rstrip(b"\r\n")
            too_long = len(data) > MAX_LINE_BYTES
            while not piece.endswith(b"\n") and (piece := self._read(MAX_LINE_BYTES)):
                too_long = True
            if self._number == 1:
                data = data.removeprefix(_BOM)
            if data.strip():
                yield RawLine(self._number, data[:_SHOWN_BYTES] if too_long else data, too_long)

    def _read(self, limit: int) -> bytes:
        try:
            piece = self._text.readline(limit)
        except (EOFError, OSError, zlib.error) as problem:
            if isinstance(problem, OSError) and not isinstance(problem, gzip.BadGzipFile):
                raise
            raise CommandFailed(
                f"{self._path}: after line {self._number} its compressed data is damaged, or ends too early"
            ) from None
        self._expanded += len(piece)
        if self._is_gzip:
            self._check_expansion()
        return piece

    def _check_expansion(self) -> None:
        if self._expanded > self._max_expanded:
            raise CommandFailed(
                f"{self._path}: line {self._number} is beyond {self._max_expanded:,} bytes of expanded data. If the "
                "file is what it should be, raise --max-expanded."
            )
        if self._expanded > EXPANSION_CHECK_FROM_BYTES and self._expanded > MAX_EXPANSION_RATIO * max(
            self.read_bytes, 1
        ):
            raise CommandFailed(
                f"{self._path}: up to line {self._number} it expands to more than {MAX_EXPANSION_RATIO} times its size, as no "
                "real log does. If it is what it should be, expand it yourself: gunzip."
            )
