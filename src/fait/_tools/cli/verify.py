"""`fait verify-store`: does a store keep its promises on this very server? It is tried, and what breaks has a name."""

import asyncio
import random
import signal
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from fait._errors import UsageError
from fait._store.open import redacted_url
from fait._tools.cli.opening import JsonOption
from fait._tools.cli.output import (
    INTERRUPTED,
    command,
    print_json,
    print_line,
    print_message,
    print_table,
    stderr_console,
)
from fait._tools.verify.engine import Progress, VerifyRun
from fait._tools.verify.place import scratch_store, scratch_url
from fait._tools.verify.plan import FAULT_NAMES, FaultName, Plan
from fait._tools.verify.report import FAULTS, VerifyReport, describe

__all__ = ["verify_store"]


@command
async def verify_store(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            envvar="FAIT_STORE",
            help="Where: a database, or a file whose directory is taken. A log that is there is not touched.",
        ),
    ],
    minutes: Annotated[float, typer.Option(metavar="N", min=0.02, help="How long writers write.")] = 1.0,
    processes: Annotated[int, typer.Option(metavar="N", min=1, max=50, help="How many processes append.")] = 3,
    callers: Annotated[int, typer.Option(metavar="N", min=1, max=200, help="How many callers each of them has.")] = 8,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Give the chances of an earlier run again.")] = None,
    inject: Annotated[list[str] | None, typer.Option(hidden=True, help="Do something wrong on purpose.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Try a store's promises, in a schema or file of its own that is removed; the exit code is 1 if one is broken.

    Processes append with and without conditions, join transactions, hold others, roll back and are killed, while
    others read; then everything is compared.
    """
    own_url, schema = scratch_url(url)
    seed = random.randrange(1 << 30) if seed is None else seed  # noqa: S311 - to be repeated, not to be secret
    plan = Plan(own_url, schema, minutes * 60, seed, processes, callers, faults=_parse_faults(inject or [], own_url))
    try:
        report = await _run_plan(plan)
    except asyncio.CancelledError:  # by the second signal
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json({"store": redacted_url(url), "good": report.good, **msgspec.structs.asdict(report)})
    else:
        _print_report(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.good:
        raise typer.Exit(1)


async def _run_plan(plan: Plan) -> VerifyReport:
    stop = _stop_on_signal()
    async with scratch_store(plan.url, lambda problem: print_message(f"fait: {problem}")) as place:
        print_message(f"seed {plan.seed}; {plan.seconds:g} s on {place.location}, which is removed at the end")
        with _VerifyMeter(plan.seconds) as meter:
            return await VerifyRun(plan, stop, meter.show).run()


def _parse_faults(names: list[str], url: str) -> tuple[FaultName, ...]:
    plants: list[FaultName] = [each for each in FAULT_NAMES if each in names]
    if len(plants) < len(set(names)):
        raise UsageError(f"what can be planted is {', '.join(FAULT_NAMES)}")
    if "mark" in plants and not url.startswith("postgresql:"):
        raise UsageError("mark can be planted in PostgreSQL: in SQLite, all that can be seen is final")
    return tuple(plants)


def _stop_on_signal() -> asyncio.Event:
    """Set by Ctrl-C or SIGTERM; the second one does not wait for what is under way."""
    stop, task = asyncio.Event(), asyncio.current_task()
    assert task is not None

    def hear() -> None:
        if stop.is_set():
            task.cancel()
        else:
            stop.set()
            print_message("stopping; what was done so far is compared")

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, hear)
    return stop


class _VerifyMeter:
    """How far, how much, and what was found so far, where somebody watches a terminal."""

    def __init__(self, seconds: float) -> None:
        console = stderr_console()
        self._bar = Bar(
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=seconds, counts="")

    def __enter__(self) -> "_VerifyMeter":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, now: Progress) -> None:
        counts = f"{now.written:,} written  {now.delivered:,} delivered  {now.faults:,} faults"
        self._bar.update(self._task, completed=now.seconds, counts=counts)


def _print_report(report: VerifyReport) -> None:
    shown = [(name, report.broken.get(name, 0), report.examples.get(name, [""])) for name in FAULTS]
    print_table(("promise", "times", "example"), [(name, f"{count:,}", str(some[0])) for name, count, some in shown])
    times = [
        (
            name,
            f"{feed.delivered:,}",
            *(f"{ms:,.1f} ms" for ms in (feed.delay_p50_ms, feed.delay_p99_ms)),
            *(f"{ms:,.1f} ms" for ms in (feed.after_rollback_p50_ms, feed.after_rollback_p99_ms)),
        )
        for name, feed in report.feeds.items()
    ]
    print_table(("reader", "delivered", "delay p50", "p99", "after a rollback p50", "p99"), times)
    for each in report.unsafe:
        print_line(f"unsafe: {each.name}: {each.detail}" + (f" ({each.advice})" if each.advice else ""))
    for kind, (count, text) in report.errors.items():
        print_line(f"{count:,} times, as may happen: {kind}: {text}")
    print_line(describe(report))
