"""`fait run`: a worker. It runs an app's handlers and read models, beside any others, until it is told to stop."""

import asyncio
import signal
from typing import Annotated, Final

import typer

from fait._app import SubscriptionStatus, System
from fait._errors import StoreUnavailable
from fait._store.open import redacted_url
from fait._tools.cli.opening import JsonOption, StoreOption, load_app
from fait._tools.cli.output import command, print_json, print_message

__all__ = ["run"]

_POLL_INTERVAL_S: Final = 1.0


@command
async def run(
    store: StoreOption,
    app: Annotated[
        str,
        typer.Option(
            "--app", metavar="MODULE:APP", help="Where the app is, as in shop.app:shop; found from this directory."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Run the app's subscriptions until SIGINT or SIGTERM; events in hand are finished first."""
    declared, stop = load_app(app), asyncio.Event()
    await asyncio.sleep(0)  # Ctrl-C during the import ends it here
    loop = asyncio.get_running_loop()

    def told(number: int) -> None:
        stop.set()
        loop.remove_signal_handler(number)  # told again, it ends at once

    loop.add_signal_handler(signal.SIGTERM, told, signal.SIGTERM)
    async with declared.open(store, create=False) as system:
        loop.add_signal_handler(signal.SIGINT, told, signal.SIGINT)  # until now it ended the start itself
        names = ", ".join(system._subscription_runner.processors) or "nothing"  # pyright: ignore[reportPrivateUsage]
        print_message(f"{declared.name} on {redacted_url(store)} runs {names}; stop with Ctrl-C")
        await _report_changes(system, stop, as_json)
        print_message("finishing the events in hand")


async def _report_changes(system: System, stop: asyncio.Event, as_json: bool) -> None:
    """Say what each subscription does whenever that changes."""
    told: dict[str, tuple[str, str]] = {}
    away = False
    while not stop.is_set():
        try:
            found = await system.status()
        except StoreUnavailable as problem:  # handlers wait for it, and so does this
            found = list[SubscriptionStatus]()
            if not away:
                print_message(str(problem))
        away = not found and bool(system._subscription_runner.processors)  # pyright: ignore[reportPrivateUsage]
        for status in found:
            now = (status.state, str(status.error or ""))
            if told.get(status.name) != now:
                told[status.name] = now
                _print_status(status, as_json)
        try:
            async with asyncio.timeout(_POLL_INTERVAL_S):
                await stop.wait()
        except TimeoutError:
            continue


def _print_status(status: SubscriptionStatus, as_json: bool) -> None:
    problem = status.error and f"{type(status.error).__name__}: {status.error}"
    if as_json:
        print_json(
            {"subscription": status.name, "state": status.state, "position": status.position, "problem": problem}
        )
    else:
        print_message(
            f"{status.name}: {status.state} at position {status.position:,}" + (f": {problem}" if problem else "")
        )
