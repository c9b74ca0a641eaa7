"""`fait verify-store`: verifies the guarantees of a store on the user's own server."""

import asyncio
import random
import signal
from typing import Annotated

import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from fait._errors import UsageError
from fait._store.store_url import redacted_url
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import (
    INTERRUPTED,
    command,
    print_json,
    print_line,
    print_message,
    print_table,
    stderr_console,
)
from fait._tools.verify.engine import RunProgress, VerifyRun
from fait._tools.verify.plan import FAULTS, Fault, Plan
from fait._tools.verify.report import VerifyReport, Violation, describe
from fait._tools.verify.scratch import scratch_store, scratch_url

__all__ = ["verify_store"]


@command
async def verify_store(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            envvar="FAIT_STORE",
            help="A PostgreSQL database, or an SQLite file whose directory is used. An existing log is not touched.",
        ),
    ],
    minutes: Annotated[float, typer.Option(metavar="N", min=0.02, help="How long the writers run.")] = 1.0,
    processes: Annotated[int, typer.Option(metavar="N", min=1, max=50, help="Number of processes that append.")] = 3,
    callers: Annotated[
        int, typer.Option(metavar="N", min=1, max=200, help="Number of concurrent callers in each of these processes.")
    ] = 8,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of an earlier run, to repeat its random choices.")
    ] = None,
    inject_fault: Annotated[
        list[str] | None, typer.Option(hidden=True, help="Commit a fault on purpose, to test the checker; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the guarantees of a store on your server.

    The verification uses its own temporary schema or file and removes it at the end. Processes append with and without
    conditions, run transactions with an outbox, hold other transactions open, roll back and are killed, while readers
    follow the log. Then all results are compared. The exit code is 1 if a guarantee was violated.
    """
    temporary_url, schema = scratch_url(url)
    seed = random.randrange(1 << 30) if seed is None else seed  # noqa: S311 - reproducible, not secret
    faults = _parse_faults(inject_fault or [], temporary_url)
    plan = Plan(temporary_url, schema, minutes * 60, seed, processes, callers, faults=faults)
    try:
        report = await _run_plan(plan)
    except asyncio.CancelledError:  # by the second signal
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json({"store": redacted_url(url), **report.as_json()})
    else:
        _print_report(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.passed:
        raise typer.Exit(1)


async def _run_plan(plan: Plan) -> VerifyReport:
    stop = _stop_on_signal()
    async with scratch_store(plan.url, lambda message: print_message(f"fait: {message}")) as admin:
        print_message(
            f"Verifying for {plan.seconds:g} s with seed {plan.seed}, on the temporary store {admin.location}. Stop "
            "early with Ctrl-C."
        )
        with _VerifyMeter(plan.seconds) as meter:
            return await VerifyRun(plan, stop, meter.show).run()


def _parse_faults(names: list[str], url: str) -> tuple[Fault, ...]:
    faults: list[Fault] = [each for each in FAULTS if each in names]
    if len(faults) < len(set(names)):
        raise UsageError(f"invalid --inject-fault: expected one of {', '.join(FAULTS)}")
    if "ignore-high-water-mark" in faults and not url.startswith("postgresql:"):
        raise UsageError(
            "--inject-fault ignore-high-water-mark requires PostgreSQL: in SQLite, positions become visible in order"
        )
    return tuple(faults)


def _stop_on_signal() -> asyncio.Event:
    """Return an event that SIGINT or SIGTERM sets. A second signal cancels the current task."""
    stop, task = asyncio.Event(), asyncio.current_task()
    assert task is not None

    def handle_signal() -> None:
        if stop.is_set():
            task.cancel()
        else:
            stop.set()
            print_message("Stopping: comparing the results so far.")

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, handle_signal)
    return stop


class _VerifyMeter:
    """A progress bar with the numbers of events and violations. Only a terminal shows it."""

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

    def show(self, now: RunProgress) -> None:
        counts = f"{now.acknowledged:,} acknowledged  {now.delivered:,} delivered  {now.violations:,} violations"
        self._bar.update(self._task, completed=now.seconds, counts=counts)


def _print_report(report: VerifyReport) -> None:
    print_table(
        ("violation", "count", "example"),
        [
            (violation, f"{report.violations.get(violation, 0):,}", str(report.examples.get(violation, [""])[0]))
            for violation in Violation
        ],
    )
    print_table(
        ("reader", "delivered", "delay p50", "delay p99", "after rollback p50", "after rollback p99"),
        [
            (
                name,
                f"{reader.delivered:,}",
                *(f"{ms:,.1f} ms" for ms in (reader.delay_p50_ms, reader.delay_p99_ms)),
                *(f"{ms:,.1f} ms" for ms in (reader.rollback_delay_p50_ms, reader.rollback_delay_p99_ms)),
            )
            for name, reader in report.readers.items()
        ],
    )
    for each in report.unsafe_settings:
        print_line(f"unsafe setting: {each.name}: {each.detail}" + (f" ({each.advice})" if each.advice else ""))
    for kind, (count, text) in report.errors.items():
        print_line(f"permitted error, {count:,} times: {kind}: {text}")
    print_line(describe(report))
