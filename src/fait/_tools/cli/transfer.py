"""`fait import` and `fait export`: convert between a JSONL file and the events of a log."""

import asyncio
import gzip
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated, Final, cast

import typer
from msgspec import Struct

from fait._errors import FaitError, StoreUnavailable
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._events.stream import category_of
from fait._store.open import open_store
from fait._store.ports.log import Log
from fait._store.store_url import redacted_url
from fait._subscriptions.feed import stream_pages
from fait._tools.cli.import_batches import BatchReader, InvalidLineFile, store_batch
from fait._tools.cli.lines import format_line
from fait._tools.cli.options import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import INTERRUPTED, CommandFailed, command, count_of, print_json, print_message
from fait._tools.cli.progress import ProgressMeter
from fait._tools.cli.source import LineSource

__all__ = ["export_file", "import_file"]

MAX_DECOMPRESSED_BYTES: Final = 16 << 30
"""Default maximum size of a gzipped file after decompression."""

CONTINUE: Final = "To continue, run the same command again."


class ImportSummary(Struct):
    """What an import did.

    Attributes:
        file: path of the imported file.
        store: URL of the store, without password.
        written: number of events that this run appended.
        already_stored: number of events that were stored before.
        invalid_lines: number of lines that were skipped.
        invalid_line_file: path of the file with the skipped lines, if there are any.
        seconds: duration of the import.
        finished: whether the end of the file was reached.
    """

    file: str
    store: str
    written: int = 0
    already_stored: int = 0
    invalid_lines: int = 0
    invalid_line_file: str | None = None
    seconds: float = 0.0
    finished: bool = False

    def describe(self) -> str:
        """Describe the result in one line."""
        rate = f" ({self.written / self.seconds:,.0f}/s)" if self.seconds > 0 and self.written else ""
        return (
            f"{count_of(self.written, 'event')} written in {self.seconds:.1f} s{rate}"
            + (f", {self.already_stored:,} already stored" if self.already_stored else "")
            + (
                f", {count_of(self.invalid_lines, 'invalid line')} skipped, see {self.invalid_line_file}"
                if self.invalid_lines
                else ""
            )
        )


@command
async def import_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSONL file, plain or gzipped.", exists=True, dir_okay=False)
    ],
    store: StoreOption,
    category: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help='For lines without "stream": kind of the tag that names the stream, such as order.'
        ),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Skip invalid lines and write them to FILE.invalid.jsonl.")
    ] = False,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", min=1, help="Approximate number of lines per batch.")
    ] = 1000,
    max_decompressed: Annotated[
        int, typer.Option(metavar="BYTES", min=1, help="Maximum size of a gzipped file after decompression.")
    ] = MAX_DECOMPRESSED_BYTES,
    as_json: JsonOption = False,
) -> None:
    """Append the events of a JSONL file to a store.

    The store is created if it does not exist. An interrupted import can be run again: it continues where it stopped,
    and no event is stored twice.

    Each line is a JSON object with "type", "time" (ISO 8601 with time zone), "data", and "stream", "tags" or both. If
    "stream" is missing, the stream is derived from a tag: "order:7" gives the stream order-7. An "id" that is a UUID is
    the id of the event.
    """
    summary = ImportSummary(str(file), redacted_url(store))
    invalid_lines = InvalidLineFile(file.with_name(file.name + ".invalid.jsonl")) if skip_invalid else None
    opened = await open_store(store)
    try:
        with LineSource(file, max_decompressed) as source, _interrupt_event() as interrupted:
            batches = BatchReader(source, category, batch_size, invalid_lines)
            await _run(opened.log, source, batches, summary, interrupted)
    except FaitError as error:
        # A StoreUnavailable says itself that nothing was written, or that this is unknown.
        progress = "" if isinstance(error, StoreUnavailable) and not _stored(summary) else _describe_progress(summary)
        advice = "" if isinstance(error, CommandFailed) else CONTINUE
        raise CommandFailed(" ".join(filter(None, (str(error), progress, advice)))) from None
    finally:
        if invalid_lines is not None:
            invalid_lines.close()
            summary.invalid_line_file = str(invalid_lines.path) if summary.invalid_lines else None
        await opened.close()
    if as_json:
        print_json(summary)
    else:
        print(summary.describe())
    if not summary.finished:
        print_message(f"Interrupted. {_describe_progress(summary)} {CONTINUE}")
        raise typer.Exit(INTERRUPTED)


async def _run(
    log: Log, source: LineSource, batches: BatchReader, summary: ImportSummary, interrupted: asyncio.Event
) -> None:
    """Store all batches. While one is stored, the next one is read."""
    started_at = time.monotonic()
    with ProgressMeter("import", source.size_bytes) as meter:
        batch = await asyncio.to_thread(batches.next)
        while batch is not None and not interrupted.is_set():
            next_batch = asyncio.create_task(asyncio.to_thread(batches.next))
            try:
                written = await store_batch(log, batch)
            finally:
                await asyncio.gather(next_batch, return_exceptions=True)
            summary.written += written
            summary.already_stored += len(batch.lines) - written
            summary.invalid_lines += batch.invalid_lines
            summary.seconds = time.monotonic() - started_at
            meter.update(source.read_bytes, summary.written + summary.already_stored)
            if batch.error is not None:
                raise batch.error
            batch = next_batch.result()
        summary.finished = batch is None


def _stored(summary: ImportSummary) -> int:
    return summary.written + summary.already_stored


def _describe_progress(summary: ImportSummary) -> str:
    stored = _stored(summary)
    if not stored:
        return "Nothing was written."
    if stored == 1:
        return f"The first event of the file is stored, {'' if summary.written else 'not '}by this run."
    return f"The first {stored:,} events of the file are stored, {summary.written:,} of them by this run."


@contextmanager
def _interrupt_event() -> Generator[asyncio.Event]:
    """Yield an event that the first Ctrl-C sets. A second Ctrl-C has its default effect."""
    interrupted, loop = asyncio.Event(), asyncio.get_running_loop()

    def interrupt() -> None:
        interrupted.set()
        loop.remove_signal_handler(signal.SIGINT)

    with suppress(NotImplementedError):  # Windows: Ctrl-C ends the import immediately, which is safe too
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


@command
async def export_file(
    store: StoreOption,
    stream: Annotated[str | None, typer.Option(metavar="STREAM", help="Only this stream.")] = None,
    category: Annotated[str | None, typer.Option(metavar="NAME", help="Only streams of this category.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write; gzipped if its name ends in .gz. Default: standard output.",
        ),
    ] = None,
) -> None:
    """Write events as JSON lines, in order of position.

    An imported line is written as it was imported. A file is replaced only when the export is complete.
    """
    async with open_readonly(store) as opened:
        pages = _pages(opened.log, stream, category)
        if output is None:
            async for _, page in pages:
                sys.stdout.buffer.write(b"".join(format_line(event) + b"\n" for event in page))
            sys.stdout.buffer.flush()
            return
        head, count = await opened.log.head(), 0
        with _atomic_output(output) as file, ProgressMeter("export", head) as meter:
            async for position, page in pages:
                file.writelines(format_line(event) + b"\n" for event in page)
                count += len(page)
                meter.update(position, count)
    print_message(f"{count_of(count, 'event')} written to {output}")


async def _pages(
    log: Log, stream: str | None, category: str | None
) -> AsyncGenerator[tuple[int, list[RecordedEvent]], None]:
    """Yield pages of events, each with the last position it covers."""
    if stream is not None:
        async for events in stream_pages(log, stream):
            yield events[-1].position, [each for each in events if category in (None, category_of(each.stream))]
        return
    page = await log.read(0, query=Query(category=category))
    yield page.position, page.events
    while page.more:
        page = await log.read(page.position, query=Query(category=category))
        yield page.position, page.events


@contextmanager
def _atomic_output(path: Path) -> Generator[IO[bytes]]:
    """Yield a temporary file that replaces `path` at the end of the block. If the block fails, `path` is unchanged.

    A symbolic link stays; the file that it names is replaced, and keeps its permissions.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _mode_of(path)
        temporary = NamedTemporaryFile(dir=target.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        raise _cannot_write(path, error) from None
    partial = Path(temporary.name)
    with temporary:
        try:
            if path.suffix == ".gz":
                with gzip.GzipFile(path.stem, "wb", 6, cast("IO[bytes]", temporary), mtime=0) as compressed:
                    yield cast("IO[bytes]", compressed)
            else:
                yield cast("IO[bytes]", temporary)
            temporary.flush()
            os.fsync(temporary.fileno())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    try:
        partial.chmod(mode)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _cannot_write(path, error) from None


def _mode_of(path: Path) -> int:
    """Return the permissions of a file, or those of a new one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return 0o666 & ~_umask()
    # fault: export-replaces-device
    if not stat.S_ISREG(mode):
        raise CommandFailed(
            f"cannot write {path}: it is not a plain file. Nothing was written. For a device or a pipe, leave out "
            "--output and redirect standard output."
        )
    return stat.S_IMODE(mode)


def _cannot_write(path: Path, error: OSError) -> CommandFailed:
    return CommandFailed(f"cannot write {path}: {error.strerror}. Nothing was written.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
