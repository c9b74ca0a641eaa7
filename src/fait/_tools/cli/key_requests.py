"""Requests of an operator for failed keys: which keys, the question before, and waiting for the end.

A command handles no event: it stores a request, and the worker that owns the keys does the rest. So a redrive keeps the
order of a key's events, and continues after a crash of either side.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct, json
from msgspec.structs import replace

from fait._store.command_hint import command_hint
from fait._store.overview import error_with_place
from fait._store.ports.failures import REQUESTED, FailureRequest, KeyFailure, is_requestable
from fait._store.ports.registrations import Registration
from fait._store.ports.store import Store
from fait._store.store_url import redacted_url
from fait._subscriptions.processor_group import LEASE_DURATION_S
from fait._tools.cli.operator import format_time, keys_in_state, registration_of, state_word, worker_advice
from fait._tools.cli.output import CommandFailed, count_of, print_json, print_line, print_message, print_table
from fait._tools.cli.progress import ProgressMeter
from fait._tools.cli.standard_input import confirm_count

__all__ = ["KeyFilter", "Operation", "RequestOptions", "as_shown", "execute_request", "print_failures", "stored_key"]

_POLL_INTERVAL_S: Final = 0.2
"""Interval between two reads of the failures that are waited for."""


class KeyFilter(Struct, frozen=True):
    """Which failed keys a command concerns. All conditions that are given must hold."""

    keys: tuple[str, ...] = ()
    error: str | None = None
    location: str | None = None

    def matches(self, failure: KeyFailure) -> bool:
        """Whether the failure is one of those."""
        return (
            (not self.keys or failure.key in self.keys)
            and self.error in (None, failure.error_type, failure.error_type.rpartition(".")[2])
            and (self.location is None or self.location in failure.location)
        )


class Operation(Struct, frozen=True):
    """What an operator requests of failed keys.

    Attributes:
        verb: "redrive", "discard" or "skip".
        name: name of the subscription.
        consequence: what happens to each key.
        requests: makes the requests of the keys. Each is executed as a whole, or not at all.
    """

    verb: str
    name: str
    consequence: str
    requests: Callable[[Sequence[KeyFailure]], list[FailureRequest]]


class RequestOptions(Struct, frozen=True):
    """How a request is made: with or without a question, waiting for its end, and how it is shown."""

    dry_run: bool = False
    yes: bool = False
    wait: bool = False
    as_json: bool = False


async def execute_request(
    opened: Store, url: str, operation: Operation, chosen: KeyFilter, options: RequestOptions
) -> None:
    """Show the keys, ask, request, and wait for the end of it."""
    name = operation.name
    registration = await registration_of(opened, name)
    failures = await _select(opened, url, registration, chosen)
    if options.dry_run or not failures:
        print_failures(failures, paused=registration.paused, as_json=options.as_json)
        reason = "" if failures else f" {_describe_none(await opened.failures.failures(name), name, url)}"
        print_message(f"{operation.verb}: {count_of(len(failures), 'key')}. Nothing was changed.{reason}")
        return
    action = f"{operation.verb} {count_of(len(failures), 'key')} of {name}"
    if not options.yes:
        print_failures(failures, paused=registration.paused, as_json=False, to_stderr=options.as_json)
        confirm_count(len(failures), operation.consequence, action)
    await _request(opened, url, operation, failures)
    advice = await worker_advice(opened, name, url)
    if options.wait:
        print_message(f"requested: {action}; {advice}")
        await _wait(opened, url, operation, failures, options.as_json)
        return
    if options.as_json:
        print_json(_result(operation, failures))
    else:
        print_line(f"requested: {action}")
    print_message(advice)


async def _select(opened: Store, url: str, registration: Registration, chosen: KeyFilter) -> list[KeyFailure]:
    """Return the keys that match and are parked. If the subscription is paused, also those that would be retried.

    Raises:
        CommandFailed: nothing can be requested of a named key, or a filter matches none.
    """
    name = registration.subscription
    every = await opened.failures.failures(name)
    chosen = replace(chosen, keys=tuple(stored_key(each, every) for each in chosen.keys))
    failures = [each for each in every if chosen.matches(each)]
    found = [each for each in failures if is_requestable(each, paused=registration.paused)]
    pause = "" if registration.paused else _pause_advice(failures, name, url)
    if missing := set(chosen.keys) - {each.key for each in found}:
        states = {each.key: each.shown_state for each in failures}
        problem = ", ".join(f"{each!r} ({states.get(each, 'no such failure')})" for each in sorted(missing))
        raise CommandFailed(
            f"these keys of {name} are not parked: {problem}. Nothing was changed. {_see(name, url)}{pause}"
        )
    if not found and chosen != KeyFilter():
        raise CommandFailed(f"no parked key of {name} matches. Nothing was changed. {_see(name, url)}{pause}")
    return found


def _see(name: str, url: str) -> str:
    return f"Look at its failed keys with: {command_hint(f'parked show {name}', redacted_url(url))}"


def _describe_none(failures: Sequence[KeyFailure], name: str, url: str) -> str:
    """Return why nothing can be requested of any key."""
    if not failures:
        return f"No key of {name} has failed."
    states = ", ".join(keys_in_state(Counter(each.shown_state for each in failures), paused=False))
    return f"No key of {name} is parked: {states}. {_see(name, url)}{_pause_advice(failures, name, url)}"


def _pause_advice(failures: Sequence[KeyFailure], name: str, url: str) -> str:
    """Return what to do before a request for keys that are retried; "" if none is."""
    if all(each.shown_state != "retrying" for each in failures):
        return ""
    pause = command_hint(f"pause {name} --reason TEXT", redacted_url(url))
    return f". To request this of a key that is retried, pause the subscription first: {pause}"


async def _request(opened: Store, url: str, operation: Operation, failures: Sequence[KeyFailure]) -> None:
    """Store the requests. A key of which nothing can be requested now ends it: another operator was faster."""
    for done, each in enumerate(requests := operation.requests(failures)):
        # fault: changed-count-of-keys-accepted
        if (count := await opened.failures.request(each)) != len(each.keys):
            changed = f"{done} of {count_of(len(requests), 'key')} changed" if done else "Nothing was changed"
            raise CommandFailed(
                f"{len(each.keys) - count} of {count_of(len(each.keys), 'key')} of {operation.name} changed before "
                f"the request: another operator was faster. {changed}. {_see(operation.name, url)}"
            )


async def _wait(opened: Store, url: str, operation: Operation, failures: Sequence[KeyFailure], as_json: bool) -> None:
    """Wait until no request is left; fail if a key is parked again."""
    try:
        again = await _wait_for_keys(opened, url, operation, {each.key for each in failures})
    except asyncio.CancelledError:
        print_message(f"fait: no longer waiting. The request remains: {operation.verb} of {operation.name} continues.")
        raise
    handled = len(failures) - len(again)
    if as_json:
        print_json({**_result(operation, failures), "handled": handled, "failed_again": again})
    else:
        print_line(f"{handled:,} of {count_of(len(failures), 'key')} handled")
    if again:
        raise CommandFailed(
            f"{count_of(len(again), 'key')} of {operation.name} failed again: "
            f"{', '.join(sorted({error_with_place(each.error_type, each.location) for each in again}))}"
        )


async def _wait_for_keys(opened: Store, url: str, operation: Operation, keys: set[str]) -> list[KeyFailure]:
    """Return the keys that have failed again. If no worker sends a heartbeat, say so."""
    beats, unchanged_since, warned = dict[str, int](), time.monotonic(), False
    with ProgressMeter(f"{operation.verb} {operation.name}", len(keys), "keys") as meter:
        while True:
            failures = [each for each in await opened.failures.failures(operation.name) if each.key in keys]
            left = sum(each.state in REQUESTED for each in failures)
            meter.update(len(keys) - left, len(keys) - left)
            if not left:
                return failures
            if (current := await _heartbeats(opened, operation.name)) != beats:
                beats, unchanged_since = current, time.monotonic()
            elif not warned and time.monotonic() - unchanged_since > LEASE_DURATION_S:
                print_message(_describe_silence(operation.name, url))
                warned = True
            await asyncio.sleep(_POLL_INTERVAL_S)


async def _heartbeats(opened: Store, name: str) -> dict[str, int]:
    return {each.worker.id: each.heartbeat for each in await opened.leases.workers() if name in each.worker.runs}


def _describe_silence(name: str, url: str) -> str:
    run = command_hint("run --app MODULE:APP", redacted_url(url))
    return f"no worker of {name} has sent a heartbeat for {LEASE_DURATION_S:g} s. Still waiting. Start one with: {run}"


def _result(operation: Operation, failures: Sequence[KeyFailure]) -> dict[str, Any]:
    return {
        "subscription": operation.name,
        "action": operation.verb,
        "keys": [each.key for each in failures],
    }


def stored_key(typed: str, failures: Sequence[KeyFailure]) -> str:
    """Return the failed key that an operator means: the keys of rows are JSON, but may be typed without quotes."""
    keys, quoted = {each.key for each in failures}, json.encode(typed).decode()
    return quoted if typed not in keys and quoted in keys else typed


def as_shown(failure: KeyFailure) -> KeyFailure:
    """Return a failure with the state that an operator sees."""
    return replace(failure, state=failure.shown_state)


def print_failures(failures: Sequence[KeyFailure], *, paused: bool, as_json: bool, to_stderr: bool = False) -> None:
    """Print failures of a subscription, which may be paused, a line each."""
    rows = [_failure_row(each, paused=paused) for each in failures]
    if to_stderr:
        print_message("\n".join(map(" ".join, rows)))
    elif as_json:
        for each in failures:
            print_json(as_shown(each))
    else:
        columns = ("key", "state", "error", "location", "event type", "attempts", "failing since")
        print_table(columns, rows)


def _failure_row(failure: KeyFailure, *, paused: bool) -> tuple[str, ...]:
    state = state_word(failure.shown_state, paused=paused)
    return (
        failure.key, state, failure.error_type, failure.location, failure.event_type, f"{failure.attempts:,}",
        format_time(failure.first_failed_at),
    )  # fmt: skip
