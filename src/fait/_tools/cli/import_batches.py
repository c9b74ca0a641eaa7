"""Stores the lines of a file so that an import can be interrupted at any time and run again.

The invariant: the stored events are always a prefix of the file. A later run appends the rest. Three rules ensure it:

- Lines are appended in segments, and a segment is one atomic append. Segment boundaries depend only on the file: a
  segment ends where a stream recurs after a line of another stream, so every run cuts the file alike.
- The segments of a batch are passed to the store concurrently but in order, and are committed as one group. A crash
  leaves a prefix of them.
- Event ids are those of the lines, or hashes of them, so lines stored by this or another import are recognized.
"""

import asyncio
import os
import stat
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct, field

from fait._errors import StoreUnavailable
from fait._events.append import Appended, AppendResult, IdConflict, StreamWrite, raise_on_conflict
from fait._events.envelope import RecordedEvent
from fait._events.version import ANY
from fait._store.ports.log import Log
from fait._tools.cli.lines import EventLine, InvalidLine, parse_line
from fait._tools.cli.output import CommandFailed
from fait._tools.cli.source import MAX_LINE_BYTES, LineSource, RawLine

__all__ = ["BatchReader", "ImportBatch", "InvalidLineFile", "store_batch"]

MAX_SEGMENT_LINES: Final = 256
"""Maximum number of lines of a segment."""

MAX_SEGMENT_BYTES: Final = 4 << 20
"""Size of a segment after which no further line is added."""

MAX_BATCH_BYTES: Final = 16 << 20
"""Size of a batch after which no further segment is added."""

MAX_ATTEMPTS: Final = 10
"""Maximum number of attempts to store a batch while another process imports the same file."""


class Segment:
    """Lines of one atomic append. In a segment, the lines of each stream are adjacent."""

    def __init__(self) -> None:
        self.lines: list[EventLine] = []
        self.size_bytes = 0
        self._streams: set[str] = set()

    def accepts(self, line: EventLine) -> bool:
        """Whether the line can be added to this segment."""
        if not self.lines:
            return True
        full = len(self.lines) >= MAX_SEGMENT_LINES or self.size_bytes >= MAX_SEGMENT_BYTES
        return not full and (line.stream not in self._streams or line.stream == self.lines[-1].stream)

    def add(self, line: EventLine) -> None:
        """Add a line to the end."""
        self.lines.append(line)
        self.size_bytes += line.size_bytes
        self._streams.add(line.stream)


class ImportBatch(Struct):
    """Segments that are stored together. Progress and interruption are handled between batches.

    Attributes:
        segments: in the order of the file.
        invalid_lines: number of invalid lines skipped while this batch was read.
        error: the invalid line that ends the import after this batch.
    """

    segments: list[Segment] = field(default_factory=list[Segment])
    invalid_lines: int = 0
    error: CommandFailed | None = None

    @property
    def lines(self) -> list[EventLine]:
        """All lines, in order."""
        return [line for segment in self.segments for line in segment.lines]


class _SkippedLine(Struct, frozen=True):
    """One line of an `InvalidLineFile`."""

    line: int
    reason: str
    text: str


class InvalidLineFile:
    """The file to which skipped lines are written. It exists only if there are any.

    Args:
        path: path of the file. That of an earlier import is deleted.

    Raises:
        CommandFailed: something else has this path. It was not changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        # fault: foreign-file-deleted
        if os.path.lexists(path) and not _is_invalid_line_file(path):
            raise CommandFailed(
                f"cannot write invalid lines to {path}: it exists, and an earlier import has not written it. Nothing "
                "was changed. Rename it, or import without --skip-invalid."
            )
        path.unlink(missing_ok=True)

    def add(self, number: int, reason: str, data: bytes) -> None:
        """Write a line with its number and the reason."""
        if self._file is None:
            self._file = self.path.open("wb")
        text = data.decode(errors="backslashreplace")
        self._file.write(msgspec.json.encode(_SkippedLine(number, reason, text)) + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _is_invalid_line_file(path: Path) -> bool:
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    try:
        with path.open("rb") as file:
            first = file.readline(MAX_LINE_BYTES)
        return not first or bool(msgspec.json.decode(first, type=_SkippedLine))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False


class BatchReader:
    """Reads a file in batches.

    Args:
        source: the lines of the file.
        category: kind of the tag that names the stream, for lines without a stream.
        batch_size: approximate number of lines of a batch.
        invalid_lines: where invalid lines are written; None: the first one ends the import.
    """

    def __init__(
        self, source: LineSource, category: str | None, batch_size: int, invalid_lines: InvalidLineFile | None
    ) -> None:
        self._source = iter(source)
        self._category = category
        self._batch_size = batch_size
        self._invalid_lines = invalid_lines
        self._segment = Segment()

    def next(self) -> ImportBatch | None:
        """Read the next batch. Return None at the end of the file."""
        batch, count, size_bytes = ImportBatch(), 0, 0
        for raw in self._source:
            line = self._parse(raw, batch)
            if batch.error is not None:
                # The unfinished segment is not stored: with the line corrected, it would have other lines.
                return batch
            if line is None or self._segment.accepts(line):
                if line is not None:
                    self._segment.add(line)
                continue
            count, size_bytes = count + len(self._segment.lines), size_bytes + self._segment.size_bytes
            batch.segments.append(self._segment)
            self._segment = Segment()
            self._segment.add(line)
            if count >= self._batch_size or size_bytes >= MAX_BATCH_BYTES:
                return batch
        if self._segment.lines:
            batch.segments.append(self._segment)
            self._segment = Segment()
        return batch if batch.segments or batch.invalid_lines else None

    def _parse(self, raw: RawLine, batch: ImportBatch) -> EventLine | None:
        try:
            if raw.too_long:
                raise InvalidLine(f"longer than {MAX_LINE_BYTES:,} bytes")
            return parse_line(raw.number, raw.data, self._category)
        except InvalidLine as error:
            if self._invalid_lines is None:
                batch.error = CommandFailed(
                    f"line {raw.number}: {error}. Correct the line and run the same command again, or skip "
                    "invalid lines with --skip-invalid."
                )
            else:
                self._invalid_lines.add(raw.number, str(error), raw.data)
                batch.invalid_lines += 1
            return None


async def store_batch(log: Log, batch: ImportBatch) -> int:
    """Append the lines that are not stored yet.

    Returns:
        The number of appended events.

    Raises:
        CommandFailed: a line that is not stored precedes a stored one; appending it now would change the order. Or a
            line has the id of another event.
        StoreUnavailable: the store failed; the stored events are a prefix of the file.
    """
    written, lines = 0, _lines_by_id(batch.lines)
    for _ in range(MAX_ATTEMPTS):
        stored = {event.id: event for event in await log.find(list(lines))} if lines else {}
        for id, event in stored.items():
            _check_same(lines[id], event)
        missing = list(_find_missing(batch.segments, stored))
        if not missing:
            return written
        results = await _append(log, missing)
        written += sum(
            len(lines)
            for lines, result in zip(missing, results, strict=True)
            if isinstance(result, Appended) and not result.repeated
        )
        if not any(isinstance(result, IdConflict) for result in results):
            return written
    raise CommandFailed(
        f"another process imports the same file: {MAX_ATTEMPTS} attempts to store a batch conflicted with it. "
        "Run the same command again when the other import has ended."
    )


def _lines_by_id(lines: Sequence[EventLine]) -> dict[str, EventLine]:
    by_id = dict[str, EventLine]()
    for line in lines:
        # fault: repeated-id-imported
        if (first := by_id.setdefault(line.event.id, line)) is not line:
            raise CommandFailed(
                f"lines {first.number} and {line.number} have the same id, {line.event.id}. An id belongs to one "
                "event: correct the file and run the same command again."
            )
    return by_id


def _check_same(line: EventLine, event: RecordedEvent) -> None:
    """Raise if the id of a line belongs to another event."""
    new = line.event
    # fault: foreign-id-imported
    if (line.stream, new.type, new.schema_version, new.data) != (
        event.stream, event.type, event.schema_version, event.data,
    ):  # fmt: skip
        raise CommandFailed(
            f"line {line.number}: its id {new.id} belongs to another event, at position {event.position} of the store. "
            "Correct the line, or remove it if the event is the same one, and run the same command again."
        )


def _find_missing(segments: Sequence[Segment], stored: Container[str]) -> Iterator[list[EventLine]]:
    """Yield the lines of each segment that are not stored."""
    first_missing: EventLine | None = None
    for segment in segments:
        missing: list[EventLine] = []
        for line in segment.lines:
            if line.event.id not in stored:
                first_missing = first_missing or line
                missing.append(line)
            elif first_missing is not None:
                raise CommandFailed(
                    f"line {first_missing.number} is not stored, but the later line {line.number} is: appending it now "
                    "would change the order. The file was changed since an earlier import, or that import used "
                    "--skip-invalid or another --category. Import the file into a new store."
                )
        if missing:
            yield missing


async def _append(log: Log, segments: Sequence[list[EventLine]]) -> list[AppendResult]:
    """Pass all segments to the store in order, without waiting in between, so that it commits many of them together."""
    results = await asyncio.gather(*(log.append(_writes(lines)) for lines in segments), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda each: not isinstance(each, StoreUnavailable)):
        raise error
    return [
        result if isinstance(result, IdConflict) else raise_on_conflict(result)
        for result in results
        if not isinstance(result, BaseException)
    ]


def _writes(lines: Sequence[EventLine]) -> list[StreamWrite]:
    """Return a write for each run of lines of the same stream."""
    runs: list[list[EventLine]] = []
    for line in lines:
        if runs and runs[-1][0].stream == line.stream:
            runs[-1].append(line)
        else:
            runs.append([line])
    return [StreamWrite(run[0].stream, tuple(line.event for line in run), ANY) for run in runs]
