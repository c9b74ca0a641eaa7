"""`fait rewind`: lets a relay publish again what its broker has lost, and a consumer read its topic again."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final

import typer
from msgspec import Struct, json

from fait._app import declarations_of
from fait._clock import SystemClock
from fait._delivery.inbox.rewind import rewind_consumer
from fait._delivery.relay.rewind import RelayRewind, rewind_relay
from fait._errors import UsageError
from fait._store.ports.inbox import LaneOffset
from fait._store.ports.registrations import Registration
from fait._subscriptions.takeover import refuse_paused
from fait._tools.cli.operator import (
    ByOption,
    NameArgument,
    ReasonOption,
    YesOption,
    operator_name,
    registration_of,
    worker_advice,
)
from fait._tools.cli.options import AppOption, JsonOption, StoreOption, load_app, open_readonly
from fait._tools.cli.output import command, count_of, print_json, print_message, print_table
from fait._tools.cli.standard_input import confirm_count

__all__ = ["rewind"]

_LOST: Final = (
    "The relay publishes again what the broker has lost, and no event from before it began to publish to the topic. "
    "Consumers recognize what they have handled."
)
_ACCEPTED: Final = "The relay continues at its checkpoint. What the broker has lost is not published again."
_READ_AGAIN: Final = (
    "The consumer reads its topic from the beginning. It recognizes events of trusted logs that it has handled, and "
    "other messages within id_window_days. Older ones take effect again."
)


class _Change(Struct, frozen=True):
    """What the command does.

    Attributes:
        run: makes the changes, or with False returns what would be changed.
        noun: what is changed.
        consequence: what follows.
        columns: names of the columns of the changes.
    """

    run: Callable[[bool], Awaitable[Sequence[RelayRewind] | Sequence[LaneOffset]]]
    noun: str
    consequence: str
    columns: tuple[str, ...]


@command
async def rewind(
    name: NameArgument,
    store: StoreOption,
    app: AppOption,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Of a relay: publish nothing again, and continue at the checkpoint.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    yes: YesOption = False,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a relay publish again what its broker has lost, or let a consumer read its topic again.

    A relay goes back to the position that its broker stores, but not to before the position at which it began to
    publish. Its workers connect again. A consumer reads its topic from the beginning, and recognizes what it has
    handled. With --dry-run, workers are not disturbed.
    """
    declarations = declarations_of(load_app(app))
    async with open_readonly(store) as opened:
        refuse_paused(registration := await registration_of(opened, name))
        if relay := declarations.relays.get(name):
            rewind = _Change(
                lambda execute: rewind_relay(
                    opened, relay, registration, SystemClock(), execute=execute, accept_loss=accept_loss
                ),
                "range", _ACCEPTED if accept_loss else _LOST,
                ("range", "checkpoint", "afterwards", "began at", "lost buckets", "forgotten keys", "redriven keys"),
            )  # fmt: skip
        elif name in declarations.consumers and not accept_loss:
            rewind = _Change(
                lambda execute: rewind_consumer(opened, registration, execute=execute),
                "lane", _READ_AGAIN, ("topic", "lane", "offset"),
            )  # fmt: skip
        else:
            raise _not_rewindable(name, registration, is_consumer=name in declarations.consumers)
        changes = await rewind.run(False)
        print_changes(changes, rewind.columns, as_json)
        if dry_run or not changes:
            print_message(f"{name}: {count_of(len(changes), rewind.noun)}. Nothing was changed.")
            return
        if not yes:
            action = f"rewind {count_of(len(changes), rewind.noun)} of {name}"
            confirm_count(len(changes), rewind.consequence, action)
        # Before the changes, which are several transactions: a command that dies between them leaves a record, too.
        details = json.encode({"accept_loss": accept_loss, "changes": changes}).decode()
        # fault: rewind-not-recorded-before
        await opened.failures.record_action("rewind", name, details, operator_name(by), reason)
        await rewind.run(True)
        print_message(f"rewound: {name}. {await worker_advice(opened, name, store)}")


def _not_rewindable(name: str, registration: Registration, *, is_consumer: bool) -> UsageError:
    """Return why a subscription cannot be rewound as the options say."""
    kind = registration.kind.replace("_", " ")
    if is_consumer:
        reason = "--accept-loss is for relays, and a consumer reads its topic again"
    elif registration.kind in ("relay", "consumer"):
        reason = f"--app must name the app {registration.app!r}, which has the {kind} {name!r}"
    else:
        reason = f"{name!r} is a {kind}, and only relays and consumers are rewound: to their broker, or in their topic"
    return UsageError(f"{reason}. Nothing was changed.")


def print_changes(changes: Sequence[RelayRewind] | Sequence[LaneOffset], columns: Sequence[str], as_json: bool) -> None:
    """Print what is changed, a line each."""
    if as_json:
        for each in changes:
            print_json(each)
    elif changes:
        print_table(columns, [_row(each) for each in changes])


def _row(change: RelayRewind | LaneOffset) -> tuple[str, ...]:
    if isinstance(change, LaneOffset):
        return change.topic, str(change.lane), change.offset
    numbers = (change.low, change.checkpoint, change.position, change.start, change.buckets)
    return (*map(str, numbers), " ".join(change.forgotten), " ".join(change.redriven))
