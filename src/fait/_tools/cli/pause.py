"""`fait pause`, `fait resume`, and `fait actions`, which lists what operators have done."""

from fait._store.command_hint import command_hint
from fait._store.ports.failures import MAX_ACTIONS
from fait._store.store_url import redacted_url
from fait._subscriptions.processor_group import LEASE_DURATION_S
from fait._subscriptions.runner import HEARTBEAT_SHARE
from fait._tools.cli.browse import LimitOption
from fait._tools.cli.operator import (
    ByOption,
    NameArgument,
    ReasonOption,
    format_time,
    operator_name,
    registration_of,
    worker_advice,
)
from fait._tools.cli.options import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import command, print_json, print_line, print_message, print_table

__all__ = ["actions", "pause", "resume"]


@command
async def pause(
    name: NameArgument,
    store: StoreOption,
    reason: ReasonOption,
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Pause a subscription in all processes, until fait resume.

    Its workers notice within a quarter of a lease. Events that they handle until then, or that are being handled, are
    not recorded: after the pause they are handled again.
    """
    async with open_readonly(store) as opened:
        await registration_of(opened, name)
        changed = await opened.registrations.pause(name, by=operator_name(by), reason=reason)
    _print_result(name, "paused", changed, as_json)
    notice_s = HEARTBEAT_SHARE * LEASE_DURATION_S
    if changed:
        print_message(
            f"Its workers notice within a quarter of a lease ({notice_s:g} s by default), and begin no further call."
        )
    print_message(f"It continues after: {command_hint(f'resume {name}', redacted_url(store))}")


@command
async def resume(
    name: NameArgument, store: StoreOption, reason: ReasonOption = "", by: ByOption = "", as_json: JsonOption = False
) -> None:
    """End the pause of a subscription: of fait pause, of its failure policy, or because of many parked keys."""
    async with open_readonly(store) as opened:
        await registration_of(opened, name)
        changed = await opened.registrations.resume(name, by=operator_name(by), reason=reason)
        advice = await worker_advice(opened, name, store)
    _print_result(name, "resumed" if changed else "not paused", changed, as_json)
    print_message(advice)


@command
async def actions(store: StoreOption, limit: LimitOption = MAX_ACTIONS, as_json: JsonOption = False) -> None:
    """List what operators have done to subscriptions, the latest first. fait itself pauses some: by "fait"."""
    async with open_readonly(store) as opened:
        listed = await opened.failures.actions(limit=limit)
    if as_json:
        for each in listed:
            print_json(each)
        return
    print_table(
        ("at", "action", "subscription", "by", "reason", "details"),
        [(format_time(each.at), each.action, each.subscription, each.by, each.reason, each.details) for each in listed],
    )


def _print_result(name: str, state: str, changed: bool, as_json: bool) -> None:
    if as_json:
        print_json({"subscription": name, "state": state, "changed": changed})
    else:
        print_line(f"{name}: {state}" if changed else f"{name}: was {state}. Nothing was changed.")
