"""Health checks of a store. A check that could not be made has the status "unknown", not "ok"."""

from datetime import timedelta
from typing import Final

from fait._clock import SystemClock
from fait._events.event import DEFAULT_RETENTION
from fait._store.command_hint import command_hint
from fait._store.ports.leases import Leases, Range
from fait._store.ports.log import Log
from fait._store.ports.registrations import Registration, Registrations
from fait._store.ports.store import Finding

__all__ = ["examine_subscriptions"]

MAX_HELD_AGE: Final = DEFAULT_RETENTION
"""Maximum age of a message that a subscription has not passed; an older one is a problem."""


async def examine_subscriptions(
    log: Log, registrations: Registrations, leases: Leases, redacted_url: str
) -> list[Finding]:
    """Check each subscription: its log and epoch, the positions of its ranges, and whether they have workers."""
    ranges, findings = await leases.ranges(), list[Finding]()
    declared = {(each.subscription, each.generation): each for each in await registrations.registrations()}
    last = await log.last_position()  # read after the positions, which are at or below it
    for each in ranges:
        registration = declared.get((each.key.subscription, each.key.generation))
        if registration is not None:  # else it was removed during the check
            findings.append(_examine_range(log, registration, each, last, redacted_url))
            findings += await _find_held_messages(log, registration, each.position, last)
    return findings


def _examine_range(log: Log, registration: Registration, each: Range, head: int, redacted_url: str) -> Finding:
    name, lag = f"subscription {registration.subscription}", head - each.position
    progress = f"position {each.position:,} of {head:,}"
    restart = _restart_advice(registration, redacted_url)
    if (registration.log_id, registration.epoch_id) != (log.identity.log_id, log.identity.epoch_id):
        advice = f"the database was restored or copied: {restart}"
        return Finding(name, "problem", "its position belongs to another log or epoch", advice)
    if lag < 0:
        advice = f"the database was restored: run {command_hint('log adopt --in-place', redacted_url)}. Then, {restart}"
        return Finding(name, "problem", f"its position, {progress}, is after the last event", advice)
    if lag and each.heartbeat is None:
        run = command_hint("run --app MODULE:APP", redacted_url)
        advice = f"start a worker of the app {registration.app!r}: {run}"
        return Finding(name, "problem", f"{progress}: it lags, and no worker runs it", advice)
    activity = "idle: up to date, no worker" if each.heartbeat is None else f"run by process {each.worker[:8]}"
    return Finding(name, "ok", f"{progress}, {activity}")


def _restart_advice(registration: Registration, redacted_url: str) -> str:
    name = registration.subscription
    if registration.kind == "read_model":
        return f"run: {command_hint(f'rebuild {name} --app MODULE:APP', redacted_url)}"
    return (
        "check which effects of the handler must be repeated or corrected, then forget its position: open the app once "
        f"in your code, with the option forget=[{name!r}] of App.open"
    )


async def _find_held_messages(log: Log, registration: Registration, position: int, head: int) -> list[Finding]:
    """Check for messages past their retention that are kept because a subscription has not passed them."""
    now = SystemClock().now()
    ages = [(now - each.recorded_at, each.type) for each in await log.oldest_messages(position)]
    age, type = max(ages, default=(timedelta(), ""))
    if age <= MAX_HELD_AGE:
        return []
    progress = f"position {position:,} of {head:,}"
    detail = f"{progress}: the oldest message that it has not passed, a {type!r}, is {age.days} days old"
    advice = (
        "no message after its position is dropped until the subscription has passed it: start a worker of the app "
        f"{registration.app!r}: fait run --app MODULE:APP. If the subscription was removed from the app, forget its "
        f"position: open the app once in your code, with the option forget=[{registration.subscription!r}] of App.open"
    )
    return [Finding(f"messages for {registration.subscription}", "problem", detail, advice)]
