"""An import that can be interrupted anywhere: what is stored is a beginning of the file, the next run adds the rest.

Lines are appended in segments, cut by the file alone, so that each run cuts them alike: a segment ends where a stream
would come back after another one. It is one append, all or nothing, and keeps the order of the file. The segments of a
batch are handed to the store together, in order: it commits them as one group, so a crash leaves a beginning of them.
Ids are made of the lines, so whatever is stored is found again, whoever stored it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct, field

from fait._errors import StoreUnavailable
from fait._events.append import Appended, AppendResult, IdConflict, StreamWrite, raise_on_conflict
from fait._events.version import ANY
from fait._store.log import Log
from fait._tools.cli.lines import BadLine, EventLine, parse_line
from fait._tools.cli.output import CommandFailed
from fait._tools.cli.source import MAX_LINE_BYTES, LineSource, RawLine

__all__ = ["BadLineFile", "BatchReader", "ImportBatch", "store_batch"]

MAX_SEGMENT_LINES: Final = 256
MAX_SEGMENT_BYTES: Final = 4 << 20
MAX_BATCH_BYTES: Final = 16 << 20
MAX_ATTEMPTS: Final = 10
"""How often a batch is looked up again when somebody else imports the same file."""


class Segment:
    """Lines that are appended together: no stream comes back after another one."""

    def __init__(self) -> None:
        self.lines: list[EventLine] = []
        self.size = 0
        self._streams: set[str] = set()

    def accepts(self, line: EventLine) -> bool:
        """Whether the line still belongs to it."""
        if not self.lines:
            return True
        full = len(self.lines) >= MAX_SEGMENT_LINES or self.size >= MAX_SEGMENT_BYTES
        return not full and (line.stream not in self._streams or line.stream == self.lines[-1].stream)

    def add(self, line: EventLine) -> None:
        """Put a line at its end."""
        self.lines.append(line)
        self.size += line.size
        self._streams.add(line.stream)


class ImportBatch(Struct):
    """What is stored between two looks at the clock and at the progress.

    Attributes:
        segments: in the order of the file.
        bad: lines set aside meanwhile.
        problem: the bad line that ends the import after this batch.
    """

    segments: list[Segment] = field(default_factory=list[Segment])
    bad: int = 0
    error: CommandFailed | None = None

    @property
    def lines(self) -> list[EventLine]:
        """Its lines, in order."""
        return [line for segment in self.segments for line in segment.lines]


class BadLineFile:
    """Where bad lines are set aside: a file beside the one that is imported, there only if it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        path.unlink(missing_ok=True)

    def add(self, number: int, reason: str, data: bytes) -> None:
        """Set a line aside."""
        if self._file is None:
            self._file = self.path.open("wb")
        text = data.decode(errors="backslashreplace")
        self._file.write(msgspec.json.encode({"line": number, "reason": reason, "text": text}) + b"\n")

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


class BatchReader:
    """The batches of a file.

    Args:
        source: the file.
        category: of the tag that names the stream, where a line names none.
        size: about how many lines a batch has.
        bad_lines: where bad lines are set aside; None = the first one ends the import.
    """

    def __init__(self, source: LineSource, category: str | None, size: int, bad_lines: BadLineFile | None) -> None:
        self._source = iter(source)
        self._category = category
        self._size = size
        self._bad_lines = bad_lines
        self._open = Segment()

    def next(self) -> ImportBatch | None:
        """The next batch; None at the end of the file."""
        batch, count, size = ImportBatch(), 0, 0
        for raw in self._source:
            line = self._line(raw, batch)
            if batch.error is not None:
                # The segment that is open is not stored: it would be another one when the line is right.
                return batch
            if line is None or self._open.accepts(line):
                if line is not None:
                    self._open.add(line)
                continue
            count, size = count + len(self._open.lines), size + self._open.size
            batch.segments.append(self._open)
            self._open = Segment()
            self._open.add(line)
            if count >= self._size or size >= MAX_BATCH_BYTES:
                return batch
        if self._open.lines:
            batch.segments.append(self._open)
            self._open = Segment()
        return batch if batch.segments or batch.bad else None

    def _line(self, raw: RawLine, batch: ImportBatch) -> EventLine | None:
        try:
            if raw.too_long:
                raise BadLine(f"it is longer than {MAX_LINE_BYTES:,} bytes")
            return parse_line(raw.number, raw.data, self._category)
        except BadLine as problem:
            if self._bad_lines is None:
                batch.error = CommandFailed(
                    f"line {raw.number}: {problem}. Put the line right, or set it aside with --skip-bad."
                )
            else:
                self._bad_lines.add(raw.number, str(problem), raw.data)
                batch.bad += 1
            return None


async def store_batch(log: Log, batch: ImportBatch) -> int:
    """Append what is not stored yet; return how many events were.

    Raises:
        CommandFailed: a line that is not stored comes before one that is: appended now, it would stand behind it.
        StoreUnavailable: what was stored before it is a beginning of the file.
    """
    written = 0
    for _ in range(MAX_ATTEMPTS):
        ids = [line.event.id for line in batch.lines]
        stored = {event.id for event in await log.find(ids)} if ids else set[str]()
        missing = list(_missing(batch.segments, stored))
        if not missing:
            return written
        verdicts = await _append(log, missing)
        written += sum(
            len(lines)
            for lines, verdict in zip(missing, verdicts, strict=True)
            if isinstance(verdict, Appended) and not verdict.repeated
        )
        if not any(isinstance(verdict, IdConflict) for verdict in verdicts):
            return written
    raise CommandFailed("another import of the same file was always quicker. Run the same command again.")


def _missing(segments: Sequence[Segment], stored: set[str]) -> Iterator[list[EventLine]]:
    """What is to be appended of each segment."""
    first: EventLine | None = None
    for segment in segments:
        missing: list[EventLine] = []
        for line in segment.lines:
            if line.event.id not in stored:
                first = first or line
                missing.append(line)
            elif first is not None:
                raise CommandFailed(
                    f"line {first.number} is not stored, but line {line.number} is: appended now, it would "
                    "stand behind what comes after it. Was the file changed since it was imported, or imported with "
                    "--skip-bad or another --category? Import it into a new store."
                )
        if missing:
            yield missing


async def _append(log: Log, segments: Sequence[list[EventLine]]) -> list[AppendResult]:
    """Hand all segments to the store at once, in order; it answers each, and commits many together."""
    answers = await asyncio.gather(*(log.append(_writes(lines)) for lines in segments), return_exceptions=True)
    problems = [answer for answer in answers if isinstance(answer, BaseException)]
    for problem in sorted(problems, key=lambda each: not isinstance(each, StoreUnavailable)):
        raise problem
    return [
        verdict if isinstance(verdict, IdConflict) else raise_on_conflict(verdict)
        for verdict in answers
        if not isinstance(verdict, BaseException)
    ]


def _writes(lines: Sequence[EventLine]) -> list[StreamWrite]:
    """A write for each run of lines of one stream."""
    runs: list[list[EventLine]] = []
    for line in lines:
        if runs and runs[-1][0].stream == line.stream:
            runs[-1].append(line)
        else:
            runs.append([line])
    return [StreamWrite(run[0].stream, tuple(line.event for line in run), ANY) for run in runs]
