"""`fait doctor`: checks a store. Each check reports ok, a problem, or that it could not be made (unknown)."""

import asyncio
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import typer

from fait._clock import SystemClock
from fait._errors import FaitError, StoreUnavailable, UsageError
from fait._store.command_hint import command_hint
from fait._store.health import MAX_CALL_S, examine_subscriptions
from fait._store.overview import SubscriptionOverview, read_overviews, worker_name
from fait._store.ports.leases import RegisteredWorker
from fait._store.ports.store import Finding, Store
from fait._store.store_url import redacted_url
from fait._subscriptions.processor_group import LEASE_DURATION_S
from fait._tools.cli.options import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import command, print_json, print_message, print_table

__all__ = ["doctor"]

_POLL_INTERVAL_S: Final = 0.1
"""Interval between reads of the heartbeats."""

MAX_UNHANDLED_AGE: Final = timedelta(minutes=1)
"""Maximum age of an event that a subscription with a worker has not handled; if it does not advance, it hangs."""


@command
async def doctor(store: StoreOption, as_json: JsonOption = False) -> None:
    """Check the health of a store.

    Checks the integrity and the settings of the database, the lag of subscriptions, the keys that failed, and the
    heartbeats of the workers.
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
            findings.append(Finding("log id", "ok", store.log.identity.log_id))
            findings += await store.examine() or [Finding("backend", "unknown", "this backend has no checks")]
            findings += await examine_subscriptions(store, redacted_url(url))
            findings += await _check_heartbeats(store, url)
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


async def _check_heartbeats(store: Store, url: str) -> list[Finding]:
    """Find workers without a heartbeat, and subscriptions that lag and do not advance although a worker runs them.

    Heartbeats are counters, not times, so this takes a while.
    """
    started_at, before, workers = time.monotonic(), await read_overviews(store), await store.leases.workers()
    late = _late(before)
    silent = {each.worker.id: each for each in workers}
    while (silent or late) and time.monotonic() - started_at < LEASE_DURATION_S:
        await asyncio.sleep(_POLL_INTERVAL_S)
        beats = {each.worker.id: each.heartbeat for each in await store.leases.workers()}
        silent = {id: each for id, each in silent.items() if beats.get(id) == each.heartbeat}
    after = {each.name: each.position for each in await read_overviews(store)} if silent or late else {}
    # fault: slow-subscription-reported-as-stalled
    stalled = [each for each in late if after.get(each.name) == each.position]
    waiting = [each for each in before if each.state == "catching up" and after.get(each.name) == each.position]
    return [
        *(_silent_worker(each, waiting, redacted_url(url)) for each in silent.values()),
        *(
            _stalled_subscription(each)
            for each in stalled
            if any(owner.worker.id not in silent for owner in each.owners)
        ),
    ]


def _late(overviews: Iterable[SubscriptionOverview]) -> list[SubscriptionOverview]:
    """Return the subscriptions that a worker runs, and that have not handled an event for long, without a long call."""
    latest = SystemClock().now() - MAX_UNHANDLED_AGE
    late = (each for each in overviews if each.state == "catching up" and each.oldest and each.oldest < latest)
    return [each for each in late if not each.describe_call(MAX_CALL_S)]  # which is another finding


def _silent_worker(silent: RegisteredWorker, waiting: Iterable[SubscriptionOverview], redacted_url: str) -> Finding:
    """Report a worker without a heartbeat. It is a problem if a subscription of its ranges does not advance."""
    name = f"worker {worker_name(silent)}"
    detail = (
        f"no heartbeat for {LEASE_DURATION_S:g} s: it hangs, was killed, or has a longer lease (option lease_s of "
        f"App.open). It runs {', '.join(silent.worker.runs) or 'nothing'}"
    )
    # fault: killed-worker-is-no-problem
    stopped = [each.name for each in waiting if silent.worker.id in {owner.worker.id for owner in each.owners}]
    if not stopped:
        return Finding(name, "unknown", detail)
    run = command_hint("run --app MODULE:APP", redacted_url)
    advice = f"look at that process. If it is dead, start a worker of the app {silent.worker.app!r}: {run}"
    return Finding(name, "problem", f"{detail}. Events wait for {', '.join(stopped)}, and nothing advances", advice)


def _stalled_subscription(each: SubscriptionOverview) -> Finding:
    owners = ", ".join(map(worker_name, each.owners))
    detail = (
        f"it has not moved from position {each.position:,} for {LEASE_DURATION_S:g} s although {owners} runs it, and "
        f"its oldest unhandled event is from {each.oldest:%Y-%m-%d %H:%M:%S}Z"
    )
    advice = f"a call of its handler hangs or is slow: look at the log of {owners}, then restart that process"
    return Finding(f"progress of {each.name}", "problem", detail, advice)
