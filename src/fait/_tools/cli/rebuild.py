"""`fait rebuild`: rebuilds one read model from the log. No other subscription of the app runs in this process."""

import asyncio
import time
from operator import attrgetter
from typing import Annotated, Final

import typer

from fait._app import declarations_of
from fait._store.command_hint import command_hint
from fait._store.overview import error_with_place
from fait._store.store_url import redacted_url
from fait._subscriptions.registration import RegistrationChanges
from fait._system import System, open_system
from fait._tools.cli.operator import ByOption, ReasonOption, operator_name
from fait._tools.cli.options import AppOption, JsonOption, StoreOption, load_app
from fait._tools.cli.output import CommandFailed, command, count_of, print_json, print_message
from fait._tools.cli.progress import ProgressMeter

__all__ = ["rebuild"]

_POLL_INTERVAL_S: Final = 0.1
"""Interval between reads of the checkpoint."""


@command
async def rebuild(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Table name of the read model, such as order_summary.")],
    store: StoreOption,
    app: AppOption,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Empty a read model and fill it again from the log.

    Until the command ends, the table is incomplete. No other read model and no handler runs.
    """
    started_at = time.monotonic()
    declarations = declarations_of(load_app(app)).only(read_models=[name])  # this process acquires no other lease
    changes = RegistrationChanges(rebuilt=[name], by=operator_name(by), reason=reason)
    async with open_system(declarations, store, changes=changes, create=False) as system:
        try:
            position = await _wait_until_caught_up(system, name)
            await _check_failed_keys(system, name, position, store)
        except asyncio.CancelledError:
            print_message(
                f"fait: the rebuild of {name} was interrupted; its table is incomplete. Run the same command again, or "
                "start a process of the app, which continues it."
            )
            raise
    seconds = time.monotonic() - started_at
    if as_json:
        print_json({"read_model": name, "position": position, "seconds": seconds})
    else:
        print(f"rebuilt {name} up to position {position:,} in {seconds:.1f} s")


async def _wait_until_caught_up(system: System, name: str) -> int:
    """Wait until the read model has passed the current head. Another process may hold its lease and do the work."""
    group, head = system._subscription_runner.groups[name], await system.store.log.head()  # pyright: ignore[reportPrivateUsage]
    with ProgressMeter(f"rebuild {name}", head) as meter:
        while True:
            ranges = await system.store.leases.ranges(name)
            position = min((each.position for each in ranges), default=0)  # the failures up to it are stored with it
            meter.update(position, position)
            failures = await system.store.failures.failures(name)
            # fault: rebuild-ends-before-the-last-attempt
            if position >= head and all(each.state == "parked" for each in failures):
                return head
            # fault: paused-rebuild-waits
            if group.state == "paused" or group.run.error is not None:  # not only some keys
                causes = [f"{each.error_type} at {each.location}" for each in failures]
                cause = group.error_text or "".join(causes[:1]) or "it was paused; see fait actions"
                raise CommandFailed(
                    f"rebuild of {name} {'was paused' if group.state == 'paused' else 'failed'} after position "
                    f"{position:,} of {head:,}; its table is incomplete. Fix the cause and run the same command again. "
                    f"Cause: {cause}"
                ) from group.cause
            await asyncio.sleep(_POLL_INTERVAL_S)


async def _check_failed_keys(system: System, name: str, position: int, store: str) -> None:
    """Fail if keys are parked: the table has no rows for them, or not their last ones."""
    failures = await system.store.failures.failures(name)
    # fault: failed-keys-of-a-rebuild-ignored
    if failures:
        first = min(failures, key=attrgetter("next_position"))
        raise CommandFailed(
            f"rebuild of {name} reached position {position:,}, but {count_of(len(failures), 'key')} failed and the "
            f"rows of {'it' if len(failures) == 1 else 'them'} are missing or old. The first error is at position "
            f"{first.next_position:,}: {error_with_place(first.error_type, first.location)}. See all with: "
            f"{command_hint(f'parked show {name}', redacted_url(store))}. Fix the cause and run the same command again"
        )
