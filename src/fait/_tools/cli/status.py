"""`fait status`: shows the subscriptions of a store, from its rows alone, so it needs neither the app nor a worker."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from shlex import quote
from typing import Annotated, Any, Final, get_args

import typer

from fait._clock import SystemClock
from fait._errors import StoreUnavailable
from fait._store.overview import SubscriptionOverview, error_with_place, read_overviews, worker_name
from fait._store.ports.failures import FailureState
from fait._store.ports.leases import Range, RegisteredWorker
from fait._store.ports.store import Store
from fait._subscriptions.processor_group import LEASE_DURATION_S
from fait._tools.cli.operator import keys_in_state
from fait._tools.cli.options import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import clear_terminal, command, print_json, print_message, print_table

__all__ = ["status"]

_COLUMNS: Final = ("subscription", "kind", "owner", "ranges", "state", "position", "lag", "lag s", "rate", "last error")
_KEY_STATES: Final = get_args(FailureState)

MIN_SHOWN_CALL_S: Final = 5.0
"""Minimum duration of a call that is shown below the table."""


class ProgressHistory:
    """What was seen before: the rate of a subscription and the age of a heartbeat are differences of two looks."""

    def __init__(self) -> None:
        self._looked_at = 0.0
        self._positions: Mapping[str, int] = {}
        self._heartbeats: dict[str, tuple[int, float]] = {}  # of each worker, since when it is seen

    def rates(self, overviews: Iterable[SubscriptionOverview]) -> dict[str, float]:
        """Return the positions per second since the last look, by subscription; none at the first look."""
        now, previous = time.monotonic(), self._positions
        elapsed_s, self._looked_at = now - self._looked_at, now
        self._positions = {each.name: each.position for each in overviews}
        return {
            name: max(0, position - previous[name]) / elapsed_s
            for name, position in self._positions.items()
            if name in previous
        }

    def silent_s(self, owner: RegisteredWorker) -> float:
        """Return for how many seconds no heartbeat of an owner has been seen; 0.0 at the first look."""
        now = time.monotonic()
        heartbeat, since = self._heartbeats.get(owner.worker.id, (None, now))
        if heartbeat != owner.heartbeat:
            since = now
        self._heartbeats[owner.worker.id] = owner.heartbeat, since
        return now - since


@command
async def status(
    store: StoreOption,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat until Ctrl-C, with the rate.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", metavar="S", min=0.1, help="Seconds between two looks with --watch.")
    ] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Show where each subscription is: owner, state, position, lag, and the last error.

    The lag is that of the oldest event that is not handled, in positions and in seconds, without the events of keys
    that are parked or retried. That of a consumer is the number of messages that it has not handled, as its worker has
    heard from the broker some seconds ago; "-" if that is not known. The owner is the host and the process that has the
    lease. With several owners, the ranges of each are counted. All of it is read from the store, once: an owner that
    was killed a moment ago is found by --watch, and by fait doctor.
    """
    history = ProgressHistory()
    async with open_readonly(store) as opened:
        _print(await _look(opened, history), as_json)
        while watch:
            await asyncio.sleep(interval)
            try:
                rows = await _look(opened, history)
            except StoreUnavailable as error:
                print_message(f"the status cannot be read, trying again: {error.reason}")
                continue
            if not as_json:
                clear_terminal()
            _print(rows, as_json)


async def _look(opened: Store, history: ProgressHistory) -> list[dict[str, Any]]:
    overviews = await read_overviews(opened)
    rates, now = history.rates(overviews), SystemClock().now()
    silent_s = {owner.worker.id: history.silent_s(owner) for each in overviews for owner in each.owners}
    return [_as_json(each, rates, silent_s, now) for each in overviews]


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for each in rows:
            print_json(each)
        return
    print_table(_COLUMNS, [_row(each) for each in rows])
    for name, stored in [(each["subscription"], each["stored_messages"]) for each in rows if each["state"] == "full"]:
        print_message(
            f"{name} receives no more messages, because {stored:,} of failed keys are stored. See the causes, then "
            f"redrive or discard the keys: fait parked list {name}"
        )
    for each in rows:
        if each["paused_at"] is not None:
            print_message(_describe_pause(each["subscription"], each["paused_at"]))
        if each["call"]:
            print_message(f"{each['subscription']}: {each['call']}")
    if not rows:
        print_message("no app has registered a subscription in this store")


def _as_json(
    each: SubscriptionOverview, rates: Mapping[str, float], silent_s: Mapping[str, float], now: datetime
) -> dict[str, Any]:
    error, counts, call = each.last_error, each.counts, each.oldest_call
    return {
        "subscription": each.name,
        "app": each.registration.app,
        "kind": each.registration.kind,
        "owners": [worker_name(owner) for owner in each.owners],
        "waiting_workers": [worker_name(worker) for worker in each.waiting_workers],
        "ranges": [_range(part, each.owners, silent_s) for part in each.ranges],
        "state": "no heartbeat" if _is_silent(each, silent_s) else each.state,
        **{state: counts[state] for state in _KEY_STATES},
        "paused_at": each.paused_at.key if each.paused_at else None,
        "stored_messages": each.stored,
        "position": each.position,
        "head": each.head,
        "lag": each.lag,
        "lag_s": None if each.registration.kind == "consumer" else _age_s(each.oldest, now),
        "rate": rates.get(each.name),
        "error_type": error.error_type if error else None,
        "location": error.location if error else None,
        "failing_since": _failing_since(each),
        "call_s": call[0] if call else None,
        "call": each.describe_call(MIN_SHOWN_CALL_S) or None,
    }


def _age_s(oldest: datetime | None, now: datetime) -> float:
    return 0.0 if oldest is None else round(max(0.0, (now - oldest).total_seconds()), 1)


def _is_silent(each: SubscriptionOverview, silent_s: Mapping[str, float]) -> bool:
    return any(silent_s[owner.worker.id] > LEASE_DURATION_S for owner in each.owners)


def _range(part: Range, owners: Sequence[RegisteredWorker], silent_s: Mapping[str, float]) -> dict[str, Any]:
    """Return a range. Its lease has no time of expiry: it ends when the heartbeat of its owner stands still."""
    owner = next((each for each in owners if each.worker.id == part.worker), None)
    return {
        "low": part.key.low,
        "high": part.high,
        "position": part.position,
        "frontier": part.frontier,
        "owner": worker_name(owner) if owner else None,
        "worker": part.worker if owner else None,
        "heartbeat": part.heartbeat,
        "silent_s": round(silent_s[part.worker], 1) if owner else None,
    }


def _count_ranges(each: Mapping[str, Any]) -> str:
    """Return the number of ranges, and how they are spread over several owners."""
    counts = Counter(part["worker"] for part in each["ranges"])
    free, total = counts.pop(None, 0), str(len(each["ranges"]))
    if len(counts) < 2 and not (counts and free):
        return total
    spread = " + ".join(str(counts[worker]) for worker in sorted(counts))  # in the order of the owners
    return f"{total} ({spread}, {free} free)" if free else f"{total} ({spread})"


def _failing_since(each: SubscriptionOverview) -> datetime | None:
    times = [failure.first_failed_at for failure in each.failures] + ([each.outage.since] if each.outage else [])
    return min(times, default=None)


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    counts = {name: each[name] for name in _KEY_STATES}
    state = ", ".join([each["state"], *keys_in_state(counts, paused=each["state"] == "paused")])
    error = error_with_place(each["error_type"], each["location"]) if each["error_type"] else _other_error(each)
    rate = "" if each["rate"] is None else f"{each['rate']:,.0f}/s"
    lag = ["-" if value is None else f"{value:,.0f}" for value in (each["lag"], each["lag_s"])]
    return (
        each["subscription"], each["kind"].replace("_", " "), ", ".join(each["owners"]), _count_ranges(each), state,
        f"{each['position']:,}", *lag, rate, error,
    )  # fmt: skip


def _other_error(each: Mapping[str, Any]) -> str:
    """Return where to look for an error because of which workers wait, and which is not in the store."""
    # fault: error-in-a-log-not-named
    return f"in the log of {', '.join(each['waiting_workers'])}" if each["state"] == "waiting" else ""


def _describe_pause(name: str, key: str) -> str:
    return (
        f"{name} is paused at a failed event of the key {key!r}. When the cause is removed, run: fait resume {name}. "
        f"To give up the event, run before that: fait skip {name} {quote(key)}"
    )
