"""`fait run`: a worker that runs the subscriptions of an app until it receives a stop signal."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import Annotated, Final

import typer

from fait._app import open_changed
from fait._errors import StoreUnavailable, UsageError
from fait._store.store_url import redacted_url
from fait._subscriptions.handler_calls import hung_calls
from fait._subscriptions.registration import RegistrationChanges
from fait._system import SubscriptionStatus, System
from fait._tools.cli.operator import ByOption, ReasonOption, keys_in_state, operator_name
from fait._tools.cli.options import AppOption, JsonOption, StoreOption, load_app
from fait._tools.cli.output import command, print_json, print_message

__all__ = ["report_changes", "run"]

_POLL_INTERVAL_S: Final = 1.0
"""Interval between reads of the status of the subscriptions."""

_WORDS: Final = {"waiting": "standby", "catching_up": "catching up"}
"""The words for states of a worker that it shares with `fait status`, and the one that only it has."""


@command
async def run(
    store: StoreOption,
    app: AppOption,
    rebuild: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="First empty this read model, to fill it again; repeatable."),
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="First rename the stored position of a handler; repeatable."),
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="First delete the position of a subscription; repeatable.")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="First accept the definition of the app, as fait definition accept."),
    ] = None,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run the handlers and read models of an app.

    Several workers may run at the same time: they share the streams of each subscription, and take over those of a
    worker that fails. SIGINT (Ctrl-C) or SIGTERM stops the worker after the current batches, or after about ten
    seconds if a handler or the database does not respond; a second signal stops it immediately. Changes of a
    subscription's state are printed to standard error, or with --json to standard output, in the words of fait status,
    with two more: "starting", and "standby" while other workers have all of it.

    --rebuild, --renamed, --forget and --accept are for one start, by hand: a service that is restarted with them would
    do the same again. Each change is recorded, as fait actions lists it.
    """
    changes = RegistrationChanges(
        _pairs(renamed), forget or (), accept or (), rebuild or (), by=operator_name(by), reason=reason
    )
    if (reason or by) and not (renamed or forget or accept or rebuild):
        raise UsageError(
            "--reason and --by are recorded with a change: give them with --rebuild, --renamed, --forget or --accept. "
            "Nothing was changed."
        )
    declared = load_app(app)
    await asyncio.sleep(0)  # lets a Ctrl-C during the import cancel this task
    async with open_changed(declared, store, changes) as system:
        names = ", ".join(system._subscription_runner.groups) or "nothing"  # pyright: ignore[reportPrivateUsage]
        print_message(f"app {declared.name!r} on {redacted_url(store)} runs {names}. Stop with Ctrl-C.")
        reports = asyncio.create_task(report_changes(system, as_json))
        for number in (signal.SIGTERM, signal.SIGINT):  # before, a signal ends the opening
            _cancel_on_signal(reports, number)
        with suppress(asyncio.CancelledError):
            await reports
        print_message("stopping: finishing the current batches")
    _end_with_hung_calls()


def _end_with_hung_calls() -> None:
    """End the process at once if a call still runs in a thread: Python would wait for it, as long as it takes."""
    # fault: hung-call-keeps-the-process
    if hung := hung_calls():
        print_message(f"calls that do not end are cut off, and their events are handled again: {', '.join(hung)}")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _pairs(renamed: list[str] | None) -> dict[str, str]:
    pairs = [each.partition("=") for each in renamed or ()]
    for old, _, new in pairs:
        if not (old and new):
            raise UsageError("--renamed takes OLD=NEW, as in --renamed send=send_mail. Nothing was changed.")
    return {old: new for old, _, new in pairs}


def _cancel_on_signal(task: "asyncio.Task[None]", number: signal.Signals) -> None:
    """Cancel a task on the first signal; a second one ends the process, whatever it waits for."""
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        task.cancel()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    loop.add_signal_handler(number, cancel)


async def report_changes(system: System, as_json: bool) -> None:
    """Print the status of each subscription whenever its state or error changes, and one line for each outage."""
    reported: dict[str, tuple[str, int, int, str]] = {}
    is_outage = False
    while True:
        try:
            for status in await system.status():
                # fault: starting-worker-shown-as-standby
                is_starting = status.state == "waiting" and status.name not in reported
                word = "starting" if is_starting else _word_of(status)
                current = (word, status.retrying, status.parked, status.error_text)
                if reported.get(status.name) != current:
                    reported[status.name] = current
                    _print_status(status, word, as_json)
            is_outage = False
        except StoreUnavailable as error:
            if not is_outage:
                print_message(f"the status cannot be read, the worker keeps retrying: {error.reason}")
            is_outage = True
        await asyncio.sleep(_POLL_INTERVAL_S)


def _print_status(status: SubscriptionStatus, state: str, as_json: bool) -> None:
    error, counts = status.error_text or None, {"retrying": status.retrying, "parked": status.parked}
    keys = ", ".join(keys_in_state(counts, paused=state == "paused"))
    if as_json:
        print_json({"subscription": status.name, "state": state, **counts, "position": status.position, "error": error})
        return
    shown = f"{state}, {keys}" if keys else state
    print_message(f"{status.name}: {shown} at position {status.position:,}" + (f": {error}" if error else ""))


def _word_of(status: SubscriptionStatus) -> str:
    """Return the state as `fait status` calls it; "standby": other workers run it."""
    if status.state != "failing":
        return _WORDS.get(status.state, status.state)
    # fault: outage-of-a-worker-shown-as-live
    if status.outage:
        return "waiting"
    return "catching up" if status.lag else "live"
