"""Whether a store is well: what was found, and what could not be checked, which is not the same as well."""

from typing import Literal

from msgspec import Struct

from fait.store.ledger import Ledger
from fait.store.log import Log

__all__ = ["Finding", "examine_subscriptions"]


class Finding(Struct, frozen=True):
    """The answer of one check.

    Attributes:
        name: of the check, in few words.
        verdict: "ok"; "finding": something is wrong; "unknown": it could not be checked.
        detail: what was seen.
        advice: what to do about it; "" when nothing is to be done.
    """

    name: str
    verdict: Literal["ok", "finding", "unknown"]
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
    return found
