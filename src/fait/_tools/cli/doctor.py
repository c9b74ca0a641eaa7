"""`fait doctor`: checks a store. Each check reports ok, a problem, or that it could not be made (unknown)."""

import asyncio
from typing import Final

import typer

from fait._errors import FaitError, StoreUnavailable, UsageError
from fait._store.health import examine_subscriptions
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Finding, Store
from fait._store.store_url import redacted_url
from fait._subscriptions.processor import LEASE_DURATION_S
from fait._tools.cli.options import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import command, print_json, print_message, print_table

__all__ = ["doctor"]

_POLL_INTERVAL_S: Final = 0.1
"""Interval between reads of the leases."""


@command
async def doctor(store: StoreOption, as_json: JsonOption = False) -> None:
    """Check the health of a store.

    Checks the integrity and the settings of the database, the lag of subscriptions and the heartbeats of their workers.
    The exit code is 1 if a check found a problem. A check that could not be made is reported as unknown.
    """
    results = await _run_checks(store)
    findings = [each for each in results if each.status == "problem"]
    if as_json:
        print_json({"store": redacted_url(store), "healthy": not findings, "checks": results})
    else:
        print_table(("status", "check", "detail"), [(each.status, each.name, each.detail) for each in results])
        for each in findings:
            print_message(f"{each.name}: {each.advice}")
    if findings:
        raise typer.Exit(1)


async def _run_checks(url: str) -> list[Finding]:
    findings = list[Finding]()
    try:
        async with open_readonly(url) as store:
            findings += await store.examine() or [Finding("backend", "unknown", "this backend has no checks")]
            findings += await examine_subscriptions(store.log, store.registrations, store.leases, redacted_url(url))
            findings += await _check_heartbeats(store)
    except UsageError:
        raise
    except FaitError as error:
        findings.append(_interruption(error, is_open=bool(findings)))
    return findings


def _interruption(error: FaitError, *, is_open: bool) -> Finding:
    """Return the finding for an error that ended the checks."""
    reason = error.reason if isinstance(error, StoreUnavailable) else str(error)
    if is_open:
        return Finding("store", "problem", reason, "the store became unavailable; the checks after this were not made")
    return Finding("open", "problem", reason, "the store cannot be opened; no other check was made")


async def _check_heartbeats(store: Store) -> list[Finding]:
    """Report leases whose worker sends no heartbeat. Heartbeats are counters, not times, so this takes a while."""
    unchanged = await _heartbeats(store)
    for _ in range(round(LEASE_DURATION_S / _POLL_INTERVAL_S)):
        if not unchanged:
            break
        await asyncio.sleep(_POLL_INTERVAL_S)
        unchanged = dict(unchanged.items() & (await _heartbeats(store)).items())
    detail = (
        f"no heartbeat for {LEASE_DURATION_S:g} s: its worker hangs, was killed, or has a longer lease (option lease_s "
        "of App.open)"
    )
    names = {key.subscription for key in unchanged}
    return [Finding(f"lease of {name}", "unknown", detail) for name in sorted(names)]


async def _heartbeats(store: Store) -> dict[RangeKey, tuple[str, int]]:
    """Return worker and heartbeat of each range that has a registered worker."""
    ranges = await store.leases.ranges()
    return {each.key: (each.worker, each.heartbeat) for each in ranges if each.heartbeat is not None}
