"""`fait parked`: lists the keys whose events failed, and requests that a worker redrives or discards them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated

import typer
from msgspec import Struct

from fait._errors import UsageError
from fait._store.command_hint import command_hint
from fait._store.ports.failures import FailureRequest, KeyFailure
from fait._store.ports.store import Store
from fait._store.store_url import redacted_url
from fait._tools.cli.key_requests import (
    KeyFilter,
    Operation,
    RequestOptions,
    as_shown,
    execute_request,
    print_failures,
    stored_key,
)
from fait._tools.cli.operator import (
    ByOption,
    NameArgument,
    ReasonOption,
    YesOption,
    format_time,
    operator_name,
    registration_of,
    state_word,
)
from fait._tools.cli.options import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import (
    CommandFailed,
    command,
    print_fields,
    print_json,
    print_line,
    print_message,
    print_table,
)

__all__ = ["parked", "skip"]

parked = typer.Typer(help="Show, redrive and discard keys whose events failed.", no_args_is_help=True)

KeyOption = Annotated[list[str] | None, typer.Option("--key", metavar="K", help="Only this key; repeatable.")]
ErrorOption = Annotated[
    str | None, typer.Option("--error", metavar="TYPE", help="Only keys with this type of error, such as ValueError.")
]
LocationOption = Annotated[
    str | None,
    typer.Option("--location", metavar="L", help="Only keys whose error was raised at a place with this text."),
]
AllOption = Annotated[
    bool,
    typer.Option("--all", help="All parked keys of the subscription; if it is paused, also those that are retried."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only list the keys. Nothing is changed.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until the keys are handled, or parked again.")]


class FailureGroup(Struct, frozen=True):
    """Failures of a subscription with one cause.

    Attributes:
        subscription: name of the subscription.
        state: state of the failures.
        error_type: type of the error.
        location: where it was raised.
        keys: number of keys.
        oldest: time of the first failure, in UTC.
        latest: time of the last failure, in UTC.
        attempts: highest number of attempts at an event.
        key: one of the keys.
        paused: whether the subscription is paused: none of its keys is retried.
    """

    subscription: str
    state: str
    error_type: str
    location: str
    keys: int
    oldest: datetime
    latest: datetime
    attempts: int
    key: str
    paused: bool


@parked.command("list")
@command
async def list_groups(
    store: StoreOption,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this subscription.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List keys that failed, grouped by subscription, state, type of error, and place in the code.

    A key that is parked waits for you. One that is retrying does not: its worker retries it, unless the subscription is
    paused.
    """
    async with open_readonly(store) as opened:
        if name is not None:
            await registration_of(opened, name)
        # fault: pause-not-told-by-parked-list
        paused = {each.subscription for each in await opened.registrations.registrations() if each.paused}
        groups = _group(await opened.failures.failures(name), paused)
    if as_json:
        for each in groups:
            print_json(each)
        return
    columns = ("subscription", "state", "error", "location", "keys", "oldest", "attempts", "for example")
    print_table(columns, [_group_row(each) for each in groups])
    if not groups:
        print_message("no key has failed")
    for each in sorted({each.subscription for each in groups if each.paused}):
        hint = command_hint(f"resume {each}", redacted_url(store))
        print_message(f"{each} is paused: none of its keys is retried before {hint}")


@parked.command("show")
@command
async def show(
    name: NameArgument,
    store: StoreOption,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="The key; by default all are listed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the failure of a key: error, traceback, event, and times. The data of the event is not shown.

    Without KEY, the failed keys of the subscription are listed.
    """
    async with open_readonly(store) as opened:
        paused = (await registration_of(opened, name)).paused
        failures = await opened.failures.failures(name)
    if key is None:
        print_failures(failures, paused=paused, as_json=as_json)
        return
    wanted = stored_key(key, failures)
    failure = next((each for each in failures if each.key == wanted), None)
    if failure is None:
        raise CommandFailed(
            f"{name} has no failed key {key!r}. List its failed keys with: "
            f"{command_hint(f'parked show {name}', redacted_url(store))}"
        )
    if as_json:
        print_json(as_shown(failure))
    else:
        _print_failure(failure, paused=paused)


@parked.command("redrive")
@command
async def redrive(
    name: NameArgument,
    store: StoreOption,
    key: KeyOption = None,
    error: ErrorOption = None,
    location: LocationOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    wait: WaitOption = False,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Handle the events of parked keys again, in order.

    A worker of the subscription handles them. A key whose event fails again is parked again. Of a subscription that is
    paused, this also concerns keys that are retried.
    """
    chosen, options = _filter_of(key, error, location, every), RequestOptions(dry_run, yes, wait, as_json)

    def requests(failures: Sequence[KeyFailure]) -> list[FailureRequest]:
        keys = tuple(each.key for each in failures)
        return [FailureRequest(name, keys, "redriving", operator_name(by), reason)]

    operation = Operation("redrive", name, "Their events are handled again, in order.", requests)
    async with open_readonly(store) as opened:
        await execute_request(opened, store, operation, chosen, options)


@parked.command("discard")
@command
async def discard(
    name: NameArgument,
    store: StoreOption,
    first: Annotated[bool, typer.Option("--first", help="Discard the event of each key that failed.")] = False,
    all_events: Annotated[
        bool, typer.Option("--all-events", help="Discard all events of each key that are in the log now.")
    ] = False,
    key: KeyOption = None,
    error: ErrorOption = None,
    location: LocationOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    wait: WaitOption = False,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Pass events of parked keys without handling them; later events of the keys are handled.

    The events stay in the log; only this subscription never handles them. This cannot be undone. Of a subscription that
    is paused, this also concerns keys that are retried.
    """
    if first and all_events:
        raise UsageError("--first excludes --all-events. Nothing was changed.")
    if not (first or all_events):
        raise UsageError(
            "which events? Give --first (of each key the event that failed) or --all-events (also all later ones). "
            "Nothing was changed."
        )
    chosen, options = _filter_of(key, error, location, every), RequestOptions(dry_run, yes, wait, as_json)
    async with open_readonly(store) as opened:
        if first:
            operation = _discard_first("discard", name, operator_name(by), reason)
        else:
            last = await _last_position(opened, name)
            operation = _discard_all(name, last, operator_name(by), reason)
        await execute_request(opened, store, operation, chosen, options)


@command
async def skip(
    name: NameArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The failed key, as fait parked show NAME lists it.")],
    store: StoreOption,
    yes: YesOption = False,
    wait: WaitOption = False,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Discard the event at which a key failed; the later events of the key are handled.

    The key is parked, or its subscription is paused.
    The same as `fait parked discard NAME --key KEY --first`.
    """
    options = RequestOptions(yes=yes, wait=wait, as_json=as_json)
    async with open_readonly(store) as opened:
        operation = _discard_first("skip", name, operator_name(by), reason)
        await execute_request(opened, store, operation, KeyFilter((key,)), options)


async def _last_position(opened: Store, name: str) -> int:
    """Return the position of the last event that a subscription can have; of a consumer, the last that it received."""
    if (await registration_of(opened, name)).kind != "consumer":
        return await opened.log.last_position()
    return max(each.frontier for each in await opened.leases.ranges(name))


def _filter_of(keys: list[str] | None, error: str | None, location: str | None, every: bool) -> KeyFilter:
    chosen = KeyFilter(tuple(keys or ()), error, location)
    if every and chosen != KeyFilter():
        raise UsageError("--all excludes --key, --error and --location. Nothing was changed.")
    if not every and chosen == KeyFilter():
        raise UsageError(
            "which keys? Give --all, or one or several of --key, --error and --location. Nothing was changed."
        )
    return chosen


def _discard_first(verb: str, name: str, by: str, reason: str) -> Operation:
    """Discard one event of each key. Each request names its event: if that is handled since, no other is discarded."""

    def requests(failures: Sequence[KeyFailure]) -> list[FailureRequest]:
        # fault: discard-of-an-event-that-was-not-shown
        return [FailureRequest(name, (each.key,), "discarding", by, reason, each.next_position) for each in failures]

    return Operation(verb, name, "The event shown of each key is never handled, the later ones are.", requests)


def _discard_all(name: str, last: int, by: str, reason: str) -> Operation:
    def requests(failures: Sequence[KeyFailure]) -> list[FailureRequest]:
        keys = tuple(each.key for each in failures)
        return [FailureRequest(name, keys, "discarding", by, reason, last)]

    consequence = f"All their events from the one shown up to position {last:,} are never handled."
    return Operation("discard", name, consequence, requests)


def _group(failures: Iterable[KeyFailure], paused: Collection[str]) -> list[FailureGroup]:
    def cause(each: KeyFailure) -> tuple[str, str, str, str]:
        return each.subscription, each.shown_state, each.error_type, each.location

    ordered = sorted(failures, key=cause)
    return [_summarize(list(each), paused) for _, each in groupby(ordered, cause)]


def _summarize(failures: Sequence[KeyFailure], paused: Collection[str]) -> FailureGroup:
    first = failures[0]
    return FailureGroup(
        first.subscription, first.shown_state, first.error_type, first.location, len(failures),
        min(each.first_failed_at for each in failures), max(each.last_failed_at for each in failures),
        max(each.attempts for each in failures), first.key, first.subscription in paused,
    )  # fmt: skip


def _group_row(group: FailureGroup) -> tuple[str, ...]:
    state = state_word(group.state, paused=group.paused)
    return (
        group.subscription, state, group.error_type, group.location, f"{group.keys:,}", format_time(group.oldest),
        f"{group.attempts:,}", group.key,
    )  # fmt: skip


def _print_failure(failure: KeyFailure, *, paused: bool) -> None:
    names = (
        "subscription", "key", "state", "error_type", "error", "location", "attempts", "first_failed_at",
        "last_failed_at", "stream", "event_type", "event_id", "next_position", "requested_by", "reason",
    )  # fmt: skip
    state = state_word(failure.shown_state, paused=paused)
    values = {name: getattr(failure, name) for name in names} | {"state": state}
    print_fields(
        {
            name.replace("next_", "").replace("_", " "): format_time(value)
            if isinstance(value, datetime)
            else str(value)
            for name, value in values.items()
            if value != ""
        }
    )
    print_line("")
    for line in failure.traceback.splitlines():
        print_line(line)
