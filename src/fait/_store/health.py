"""Health checks of a store. A check that could not be made has the status "unknown", not "ok"."""

from datetime import timedelta
from typing import Final, Literal

from msgspec import Struct

from fait._clock import SystemClock
from fait._events.event import DEFAULT_RETENTION
from fait._store.command_hint import command_hint
from fait._store.ledger import Checkpoint, Ledger
from fait._store.log import Log

__all__ = ["Finding", "examine_subscriptions"]

MAX_HELD_AGE: Final = DEFAULT_RETENTION
"""Maximum age of a message that a subscription has not passed; an older one is a problem."""


class Finding(Struct, frozen=True):
    """The result of one check.

    Attributes:
        name: name of the check.
        status: "ok"; "problem": something is wrong; "unknown": the check could not be made.
        detail: the observed facts.
        advice: the next step for an operator; "" if there is none.
    """

    name: str
    status: Literal["ok", "problem", "unknown"]
    detail: str
    advice: str = ""


async def examine_subscriptions(log: Log, ledger: Ledger, redacted_url: str) -> list[Finding]:
    """Check each subscription: its log and epoch, its position, and whether a process owns its lease."""
    head, findings = await log.head(), list[Finding]()
    for checkpoint in await ledger.checkpoints():
        name = f"subscription {checkpoint.subscription}"
        owner = (await ledger.lease(checkpoint.subscription)).owner
        lag = head - checkpoint.position
        progress = f"position {checkpoint.position:,} of {head:,}"
        rebuild = command_hint(f"rebuild {checkpoint.subscription} --app MODULE:APP", redacted_url)
        restart = (
            f"if it is a read model, run: {rebuild}; if it is a handler, first check which of its effects must be "
            "repeated or corrected, then delete its checkpoint: open the app once in your code, with the option "
            f"forget=[{checkpoint.subscription!r}] of App.open"
        )
        if (checkpoint.log_id, checkpoint.epoch_id) != (log.identity.log_id, log.identity.epoch_id):
            advice = f"the database was restored or copied: {restart}"
            findings.append(Finding(name, "problem", "its checkpoint belongs to another log or epoch", advice))
        elif lag < 0:
            advice = (
                f"the database was restored: run {command_hint('log adopt --in-place', redacted_url)}. Then, {restart}"
            )
            findings.append(Finding(name, "problem", f"its checkpoint, {progress}, is after the head", advice))
        elif lag and not owner:
            run = command_hint("run --app MODULE:APP", redacted_url)
            advice = f"start a worker of the app {checkpoint.app!r}: {run}"
            findings.append(Finding(name, "problem", f"{progress}: it lags, and no worker runs it", advice))
        else:
            activity = f"run by process {owner[:8]}" if owner else "idle: up to date, no worker"
            findings.append(Finding(name, "ok", f"{progress}, {activity}"))
        findings += await _find_held_messages(log, checkpoint, progress)
    return findings


async def _find_held_messages(log: Log, checkpoint: Checkpoint, progress: str) -> list[Finding]:
    """Check for messages past their retention that are kept because a subscription has not passed them."""
    now = SystemClock().now()
    ages = [(now - each.recorded_at, each.type) for each in await log.oldest_messages(checkpoint.position)]
    age, type = max(ages, default=(timedelta(), ""))
    if age <= MAX_HELD_AGE:
        return []
    detail = f"{progress}: the oldest message that it has not passed, a {type!r}, is {age.days} days old"
    advice = (
        "no message after its checkpoint is dropped until the subscription has passed it: start a worker of the app "
        f"{checkpoint.app!r}: fait run --app MODULE:APP. If the subscription was removed from the app, delete its "
        f"checkpoint: open the app once in your code, with the option forget=[{checkpoint.subscription!r}] of App.open"
    )
    return [Finding(f"messages for {checkpoint.subscription}", "problem", detail, advice)]
