"""`fait run`: a worker that runs the subscriptions of an app until it receives a stop signal."""

import asyncio
import signal
from typing import Final

from fait._errors import StoreUnavailable
from fait._store.store_url import redacted_url
from fait._system import SubscriptionStatus, System
from fait._tools.cli.options import AppOption, JsonOption, StoreOption, load_app
from fait._tools.cli.output import command, print_json, print_message

__all__ = ["run"]

_POLL_INTERVAL_S: Final = 1.0
"""Interval between reads of the status of the subscriptions."""


@command
async def run(store: StoreOption, app: AppOption, as_json: JsonOption = False) -> None:
    """Run the handlers and read models of an app.

    Several workers may run at the same time: each subscription is run by one of them, and another one takes over if
    that worker fails. SIGINT (Ctrl-C) or SIGTERM stops the worker after the current batches; a second signal stops it
    immediately. Changes of a subscription's state are printed to standard error, or with --json to standard output.
    """
    declared, stop = load_app(app), asyncio.Event()
    await asyncio.sleep(0)  # lets a Ctrl-C during the import cancel this task
    loop = asyncio.get_running_loop()

    def request_stop(number: int) -> None:
        stop.set()
        loop.remove_signal_handler(number)  # a second signal has its default effect

    loop.add_signal_handler(signal.SIGTERM, request_stop, signal.SIGTERM)
    async with declared.open(store, create=False) as system:
        loop.add_signal_handler(signal.SIGINT, request_stop, signal.SIGINT)  # before, Ctrl-C cancels the opening
        names = ", ".join(system._subscription_runner.processors) or "nothing"  # pyright: ignore[reportPrivateUsage]
        print_message(f"app {declared.name!r} on {redacted_url(store)} runs {names}. Stop with Ctrl-C.")
        await _report_changes(system, stop, as_json)
        print_message("stopping: finishing the current batches")


async def _report_changes(system: System, stop: asyncio.Event, as_json: bool) -> None:
    """Print the status of each subscription whenever its state or error changes."""
    reported: dict[str, tuple[str, str]] = {}
    unavailable = False
    while not stop.is_set():
        try:
            statuses = await system.status()
        except StoreUnavailable as error:  # the subscriptions reconnect on their own
            statuses = list[SubscriptionStatus]()
            if not unavailable:
                print_message(str(error))
        unavailable = not statuses and bool(system._subscription_runner.processors)  # pyright: ignore[reportPrivateUsage]
        for status in statuses:
            current = (status.state, str(status.error or ""))
            if reported.get(status.name) != current:
                reported[status.name] = current
                _print_status(status, as_json)
        try:
            async with asyncio.timeout(_POLL_INTERVAL_S):
                await stop.wait()
        except TimeoutError:
            continue


def _print_status(status: SubscriptionStatus, as_json: bool) -> None:
    error = status.error and f"{type(status.error).__name__}: {status.error}"
    if as_json:
        print_json({"subscription": status.name, "state": status.state, "position": status.position, "error": error})
    else:
        print_message(
            f"{status.name}: {status.state} at position {status.position:,}" + (f": {error}" if error else "")
        )
