"""What commands of an operator share: the options of the audit, and advice about workers."""

import getpass
import os
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import typer

from fait._errors import UsageError
from fait._store.command_hint import command_hint
from fait._store.overview import worker_name
from fait._store.ports.leases import RegisteredWorker
from fait._store.ports.registrations import Registration
from fait._store.ports.store import Store
from fait._store.store_url import redacted_url
from fait._tools.cli.output import count_of

__all__ = [
    "ByOption",
    "NameArgument",
    "ReasonOption",
    "YesOption",
    "format_time",
    "keys_in_state",
    "operator_name",
    "registration_of",
    "state_word",
    "worker_advice",
]


def _check_reason(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    source = context.get_parameter_source(parameter.name or "")
    if source is not None and source.name == "COMMANDLINE" and not value.strip():
        raise typer.BadParameter("the reason is empty. Say why, since it is recorded with the action.")
    return value


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the subscription: that of a handler, or of a read model's table.")
]
ReasonOption = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", callback=_check_reason, help="Why; it is recorded with the action."),
]
ByOption = Annotated[
    str, typer.Option("--by", metavar="USER", help="Who acts, for the record; by default user@host of this process.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def operator_name(by: str) -> str:
    """Return who acts: the value of `--by`, or the user and the host of this process."""
    return by or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid-{os.getuid()}"


def format_time(time: datetime) -> str:
    """Return a time in UTC, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S}Z"


def state_word(state: str, *, paused: bool) -> str:
    """Return the word for the state of a failed key in a text; JSON has the state. During a pause none is retried."""
    return "failed" if paused and state == "retrying" else state


def keys_in_state(counts: Mapping[str, int], *, paused: bool) -> list[str]:
    """Return the words for numbers of failed keys, by their state. During a pause none is retried."""
    return [f"{state_word(state, paused=paused)} {count_of(count, 'key')}" for state, count in counts.items() if count]


async def registration_of(opened: Store, name: str) -> Registration:
    """Return the registration of a subscription.

    Raises:
        UsageError: the store has no such subscription.
    """
    registrations = {each.subscription: each for each in await opened.registrations.registrations()}
    if name not in registrations:
        known = ", ".join(registrations) or "none"
        raise UsageError(f"the store has no subscription {name!r}. Nothing was changed. Its subscriptions: {known}")
    return registrations[name]


async def worker_advice(opened: Store, name: str, url: str) -> str:
    """Return which workers run a subscription, or what to do if none does."""
    registration = await registration_of(opened, name)
    if registration.paused:
        return f"{name} is paused: nothing happens before {command_hint(f'resume {name}', redacted_url(url))}"
    workers = [each for each in await opened.leases.workers() if name in each.worker.runs]
    if workers:
        return f"registered workers that run {name}: {', '.join(_describe_worker(each, name) for each in workers)}"
    run = command_hint("run --app MODULE:APP", redacted_url(url))
    return f"no process runs {name}: nothing happens before you start a worker of the app {registration.app!r}: {run}"


def _describe_worker(registered: RegisteredWorker, name: str) -> str:
    waits = registered.worker.runs[name] is None
    return f"{worker_name(registered)}{', which waits after an error and tries again by itself' if waits else ''}"
