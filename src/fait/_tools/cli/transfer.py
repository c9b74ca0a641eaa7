"""`fait import` and `fait export`: a log as a file of JSON lines, there and back."""

import asyncio
import gzip
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated, Final, cast

import typer
from msgspec import Struct

from fait._errors import FaitError
from fait._events.append import PAGE_SIZE
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._events.stream import category_of
from fait._store.log import Log
from fait._store.open import open_store, redacted_url
from fait._tools.cli.import_batches import BadLineFile, BatchReader, store_batch
from fait._tools.cli.lines import format_line
from fait._tools.cli.opening import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import INTERRUPTED, CommandFailed, command, print_json, print_message
from fait._tools.cli.progress import ProgressMeter
from fait._tools.cli.source import LineSource

__all__ = ["export_file", "import_file"]

MAX_EXPANDED_BYTES: Final = 16 << 30


class ImportSummary(Struct):
    """What an import did. `already_stored` were there from an earlier run; `bad` were set aside."""

    file: str
    store: str
    written: int = 0
    already_stored: int = 0
    bad: int = 0
    bad_file: str | None = None
    seconds: float = 0.0
    finished: bool = False

    def describe(self) -> str:
        """In words."""
        rate = f" ({self.written / self.seconds:,.0f}/s)" if self.seconds > 0 and self.written else ""
        return (
            f"{self.written:,} events written in {self.seconds:.1f} s{rate}"
            + (f", {self.already_stored:,} were stored already" if self.already_stored else "")
            + (f", {self.bad:,} bad lines set aside in {self.bad_file}" if self.bad else "")
        )


@command
async def import_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A JSONL file, plain or gzipped.", exists=True, dir_okay=False)
    ],
    store: StoreOption,
    category: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Kind of the tag that names the stream of lines without one: order."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Set bad lines aside in FILE.bad.jsonl.")] = False,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="About how many lines are stored at a time.")] = 1000,
    max_expanded: Annotated[
        int, typer.Option(metavar="BYTES", min=1, help="Most bytes of a gzipped file, expanded.")
    ] = (MAX_EXPANDED_BYTES),
    as_json: JsonOption = False,
) -> None:
    """Append the events of a file; run again, it goes on where it was.

    A line is {"stream" and/or "tags", "type", "time", "data"}, the time in ISO 8601 with its zone. A line without
    "stream" takes it from its tags: "order:7" gives order-7.
    """
    summary = ImportSummary(str(file), redacted_url(store))
    bad_lines = BadLineFile(file.with_name(file.name + ".bad.jsonl")) if skip_bad else None
    opened = await open_store(store)
    try:
        with LineSource(file, max_expanded) as source, _until_interrupted() as interrupted:
            batches = BatchReader(source, category, batch, bad_lines)
            await _run(opened.log, source, batches, summary, interrupted)
    except FaitError as problem:
        raise CommandFailed(f"{problem} {_so_far(summary)} Run the same command to go on.") from None
    finally:
        if bad_lines is not None:
            bad_lines.close()
            summary.bad_file = str(bad_lines.path) if summary.bad else None
        await opened.close()
    if as_json:
        print_json(summary)
    else:
        print(summary.describe())
    if not summary.finished:
        print_message(f"Interrupted. {_so_far(summary)} Run the same command to go on.")
        raise typer.Exit(INTERRUPTED)


async def _run(
    log: Log, source: LineSource, batches: BatchReader, summary: ImportSummary, interrupted: asyncio.Event
) -> None:
    """Store batch by batch; the next one is read while one is stored."""
    started = time.monotonic()
    with ProgressMeter("import", source.size) as meter:
        batch = await asyncio.to_thread(batches.next)
        while batch is not None and not interrupted.is_set():
            following = asyncio.create_task(asyncio.to_thread(batches.next))
            try:
                written = await store_batch(log, batch)
            finally:
                await asyncio.gather(following, return_exceptions=True)
            summary.written += written
            summary.already_stored += len(batch.lines) - written
            summary.bad += batch.bad
            summary.seconds = time.monotonic() - started
            meter.update(source.read_bytes, summary.written + summary.already_stored)
            if batch.error is not None:
                raise batch.error
            batch = following.result()
        summary.finished = batch is None


def _so_far(summary: ImportSummary) -> str:
    stored = summary.written + summary.already_stored
    return f"The first {stored:,} events of the file are stored, {summary.written:,} of them by this run."


@contextmanager
def _until_interrupted() -> Generator[asyncio.Event]:
    """An event that Ctrl-C sets, once; a second Ctrl-C ends the process as it always does."""
    interrupted, loop = asyncio.Event(), asyncio.get_running_loop()

    def interrupt() -> None:
        interrupted.set()
        loop.remove_signal_handler(signal.SIGINT)

    with suppress(NotImplementedError):  # Windows: Ctrl-C ends the import at once, which is as safe
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


@command
async def export_file(
    store: StoreOption,
    stream: Annotated[str | None, typer.Option(metavar="ID", help="Only this stream.")] = None,
    category: Annotated[str | None, typer.Option(metavar="NAME", help="Only streams of this category.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A file, gzipped if it ends in .gz; else standard output."),
    ] = None,
) -> None:
    """Write the events as JSON lines, in the order of the log: what was imported comes out as it went in."""
    async with open_readonly(store) as opened:
        pages = _pages(opened.log, stream, category)
        if output is None:
            async for _, page in pages:
                sys.stdout.write("".join(f"{format_line(event).decode()}\n" for event in page))
            sys.stdout.flush()
            return
        head, count = await opened.log.head(), 0
        with _atomic_output(output) as file, ProgressMeter("export", head) as meter:
            async for position, page in pages:
                file.writelines(format_line(event) + b"\n" for event in page)
                count += len(page)
                meter.update(position, count)
    print_message(f"{count:,} events written to {output}")


async def _pages(
    log: Log, stream: str | None, category: str | None
) -> AsyncGenerator[tuple[int, list[RecordedEvent]], None]:
    """Events by the page, each with the position it reaches to."""
    if stream is not None:
        version = 0
        while events := await log.read_stream(stream, after=version, limit=PAGE_SIZE):
            version = events[-1].version
            yield events[-1].position, [each for each in events if category in (None, category_of(each.stream))]
        return
    page = await log.read(0, query=Query(category=category))
    yield page.position, page.events
    while page.more:
        page = await log.read(page.position, query=Query(category=category))
        yield page.position, page.events


@contextmanager
def _atomic_output(path: Path) -> Generator[IO[bytes]]:
    """A file that takes its place when it is complete; until then, and if it fails, what was there stays."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as temporary:
        part = Path(temporary.name)
        try:
            if path.suffix == ".gz":
                with gzip.GzipFile(path.stem, "wb", 6, cast("IO[bytes]", temporary), mtime=0) as packed:
                    yield cast("IO[bytes]", packed)
            else:
                yield cast("IO[bytes]", temporary)
            temporary.flush()
            os.fsync(temporary.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    part.chmod(0o666 & ~_umask())
    part.replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
