"""`fait rebuild`: build one read model anew from the log. Nothing else of the app runs here: no handler acts again."""

import asyncio
import time
from typing import Annotated

import typer

from fait._app import App, System, declarations_of
from fait._errors import UsageError
from fait._tools.cli.opening import JsonOption, StoreOption, load_app
from fait._tools.cli.output import CommandFailed, command, print_json
from fait._tools.cli.progress import ProgressMeter

__all__ = ["rebuild"]

_POLL_INTERVAL_S = 0.1


@command
async def rebuild(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The read model's table, as in order_summary.")],
    store: StoreOption,
    app: Annotated[
        str,
        typer.Option(
            "--app", metavar="MODULE:APP", help="Where the app is, as in shop.app:shop; found from this directory."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Empty a read model's table and build it anew; until it has caught up, its rows are incomplete."""
    started = time.monotonic()
    only = _app_with_only(load_app(app), name)
    async with only.open(store, rebuild=[name], create=False) as system:
        position = await _wait_until_caught_up(system, name)
    seconds = time.monotonic() - started
    if as_json:
        print_json({"read_model": name, "position": position, "seconds": seconds})
    else:
        print(f"{name} was built anew up to position {position:,} in {seconds:.1f} s")


def _app_with_only(app: App, name: str) -> App:
    """The app with this read model alone, so that this process takes over none of its other subscriptions."""
    model = declarations_of(app).read_models.get(name)
    if model is None:
        known = ", ".join(sorted(declarations_of(app).read_models)) or "none"
        raise UsageError(f"the app {app.name!r} has no read model {name!r}; it has: {known}")
    only = App(app.name)
    declarations_of(only).registry = declarations_of(app).registry
    only.include(model)
    return only


async def _wait_until_caught_up(system: System, name: str) -> int:
    """Wait until the read model has passed what is in the log now; whichever process does the work."""
    processor, head = system._subscription_runner.processors[name], await system.store.log.head()  # pyright: ignore[reportPrivateUsage]
    with ProgressMeter(f"rebuild {name}", head) as meter:
        while True:
            checkpoint = await system.store.ledger.checkpoint(name)
            position = max(processor.position, checkpoint.position if checkpoint else 0)
            meter.update(position, position)
            if position >= head:
                return head
            if processor.error is not None:
                problem = processor.error
                raise CommandFailed(
                    f"{name} stopped after position {position:,} of {head:,}: {type(problem).__name__}: {problem}"
                ) from problem
            await asyncio.sleep(_POLL_INTERVAL_S)
