"""`fait schema check`: checks that published event types did not change, and that today's code reads every version."""

import logging
import signal
import time
from contextlib import nullcontext
from functools import partial
from typing import Annotated, Any

import typer

from fait._errors import DeclarationError, UsageError
from fait._evolution.check.declarations import violation_of
from fait._evolution.check.proof import SAMPLES
from fait._evolution.check.report import Report, run_check
from fait._evolution.check.running import has_code
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import command, count_of, print_message, stderr_console
from fait._tools.cli.report_formats import FORMATS
from fait._tools.cli.schema_processes import second_process
from fait._tools.cli.schema_project import LocksOption, SchemaAppOption, open_project

__all__ = ["check"]


@command
async def check(
    app: SchemaAppOption = None,
    locks: LocksOption = None,
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=f"Format of the report: {', '.join(FORMATS)}.")
    ] = "text",
    as_json: JsonOption = False,
    drafts: Annotated[
        bool, typer.Option("--drafts/--no-drafts", help="Whether versions without a lock are accepted.")
    ] = True,
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Number of events converted of each version.")
    ] = SAMPLES,
    seed: Annotated[int, typer.Option(metavar="N", help="Chooses the samples; the same seed gives the same ones.")] = 0,
) -> None:
    """Check event types against their locks.

    It reports published versions that were changed, versions that cannot be read any more, fields that disappear
    without a declaration, and upcasters that do not give what the next version needs: it converts sample events to
    find out. docs/rules explains each code. Exit codes: 0 clean, 1 violations, 2 the check could not run.
    """
    name = "json" if as_json else format
    if name not in FORMATS:
        raise UsageError(f"--format {format!r} is unknown; choose one of {', '.join(FORMATS)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio would wait for the end of the check
    logging.getLogger("fait").setLevel(logging.ERROR)  # the report says what readers log at run time
    started_s = time.perf_counter()
    with _spinner():
        report = _run(app, locks, drafts_allowed=drafts, samples=samples, seed=seed)
    _print(report, name, time.perf_counter() - started_s)
    if report.failures:
        raise typer.Exit(1)


def _run(app: Any, locks: Any, **options: Any) -> Report:
    """Run the check. An app that cannot be built because of its upcasters is a violation, too."""
    try:
        project = open_project(app, locks)
    except DeclarationError as error:
        violation = violation_of(error)
        if violation is None:
            raise UsageError(str(error)) from None
        return Report(violations=(violation,))
    run = partial(run_check, project.settings, project.registry, project.folder, **options)
    if not any(map(has_code, project.registry.upcasters.values())):
        return run()
    with second_process(app, locks, options["seed"]) as other:
        return run(further_check=other.compare)


def _spinner() -> Any:
    console = stderr_console()
    return console.status("checking event types") if console.is_terminal else nullcontext()


def _print(report: Report, format: str, duration_s: float) -> None:
    if text := FORMATS[format](report):
        print(text)
    counts = (len(report.versions), "event type"), (sum(map(len, report.versions.values())), "version")
    sizes = *counts, (report.steps, "step"), (report.samples, "sample")
    exempted = len(report.violations) - len(report.failures)
    print_message(
        f"{count_of(len(report.failures), 'violation')}"
        + (f", {exempted} exempted" if exempted else "")
        + f": {', '.join(count_of(*each) for each in sizes)} in {duration_s:.1f} s"
    )
