"""Whether a store is well: what was found, and what could not be checked, which is not the same as well."""

from datetime import timedelta
from typing import Final, Literal

from msgspec import Struct

from fait._clock import SystemClock
from fait._events.event import DEFAULT_RETENTION
from fait._store.ledger import Checkpoint, Ledger
from fait._store.log import Log

__all__ = ["Finding", "examine_subscriptions"]

MAX_HELD_AGE: Final = DEFAULT_RETENTION
"""How old a message may be before a subscription that has not passed it is a finding."""


class Finding(Struct, frozen=True):
    """The answer of one check.

    Attributes:
        name: of the check, in few words.
        verdict: "ok"; "finding": something is wrong; "unknown": it could not be checked.
        detail: what was seen.
        advice: what to do about it; "" when nothing is to be done.
    """

    name: str
    status: Literal["ok", "finding", "unknown"]
    detail: str
    advice: str = ""


async def examine_subscriptions(log: Log, ledger: Ledger) -> list[Finding]:
    """Checks that need nothing but the ports: each subscription's place in the log, and whether a process runs it."""
    head, found = await log.head(), list[Finding]()
    for checkpoint in await ledger.checkpoints():
        name = f"subscription {checkpoint.subscription}"
        owner = (await ledger.lease(checkpoint.subscription)).owner
        lag = head - checkpoint.position
        where = f"position {checkpoint.position:,} of {head:,}"
        if (checkpoint.log_id, checkpoint.epoch) != (log.identity.log_id, log.identity.epoch):
            advice = "the database was restored or copied: set its checkpoint anew, or rebuild its read model"
            found.append(Finding(name, "finding", "its checkpoint belongs to another log or epoch", advice))
        elif lag < 0:
            advice = "the database was restored: set its checkpoint anew, or rebuild its read model"
            found.append(Finding(name, "finding", f"its checkpoint, {where}, lies beyond the end", advice))
        elif lag and not owner:
            advice = f"start a process that opens the app {checkpoint.app!r} with run='here'"
            found.append(Finding(name, "finding", f"{where}: it is behind, and no process runs it", advice))
        else:
            run_by = f"run by process {owner[:8]}" if owner else "no process runs it, and nothing is to be done"
            found.append(Finding(name, "ok", f"{where}, {run_by}"))
        found += await _find_held_messages(log, checkpoint, where)
    return found


async def _find_held_messages(log: Log, checkpoint: Checkpoint, where: str) -> list[Finding]:
    """Whether messages that are old enough to be dropped wait for a subscription to pass them."""
    now = SystemClock().now()
    old = [(now - each.recorded_at, each.type) for each in await log.oldest_messages(checkpoint.position)]
    age, type = max(old, default=(timedelta(), ""))
    if age <= MAX_HELD_AGE:
        return []
    detail = f"{where}: the oldest message that it has not passed, a {type!r}, is {age.days} days old"
    advice = "no message behind it is dropped: let it go on, or if it is gone for good, open(url, forget=[its name])"
    return [Finding(f"messages for {checkpoint.subscription}", "finding", detail, advice)]
