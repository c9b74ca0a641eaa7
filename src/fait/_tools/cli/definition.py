"""`fait definition accept`: continues a subscription whose definition has changed where the older one has stopped."""

import sys

import typer

from fait._app import declarations_of
from fait._declarations import Declarations
from fait._errors import UsageError
from fait._store.ports.registrations import Registration
from fait._subscriptions.registration import RegistrationChanges
from fait._system import open_system
from fait._tools.cli.operator import ByOption, NameArgument, ReasonOption, YesOption, operator_name, registration_of
from fait._tools.cli.options import AppOption, JsonOption, StoreOption, load_app, open_readonly
from fait._tools.cli.output import CommandFailed, command, print_json, print_line, print_message

__all__ = ["definition"]

definition = typer.Typer(help="Manage the stored definitions of subscriptions.", no_args_is_help=True)


@definition.callback()
def _group() -> None:
    """Make Typer treat `accept` as a subcommand: without a callback, a group with one command becomes that command."""


@definition.command("accept")
@command
async def accept(
    name: NameArgument,
    store: StoreOption,
    app: AppOption,
    yes: YesOption = False,
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Replace the stored definition of a subscription by that of the app. Its position and its rows are kept.

    Accept a read model only if the new code computes the same rows as the old one; otherwise run fait rebuild. Accept a
    handler if it is to handle fewer event types than before. Processes with the old code stop running it.
    """
    part = _only(declarations_of(load_app(app)), name)
    async with open_readonly(store) as opened:
        registration = await registration_of(opened, name)
    if not yes:
        _confirm(registration)
    changes = RegistrationChanges(accepted=[name], by=operator_name(by), reason=reason)
    async with open_system(part, store, run="elsewhere", changes=changes, create=False) as system:
        accepted = await registration_of(system.store, name)
    if as_json:
        print_json({"subscription": name, "revision": accepted.revision, "handled_types": accepted.handled_types})
    else:
        print_line(f"{name}: the definition of the app is stored, as revision {accepted.revision}")


def _only(declarations: Declarations, name: str) -> Declarations:
    """Return the part of an app with one subscription, so that changes of others do not matter."""
    if name in declarations.read_models:
        return declarations.only(read_models=[name])
    if name in declarations.reactors:
        return declarations.only(reactors=[name])
    if name in declarations.relays:
        return declarations.only(relays=[name])
    if name in declarations.consumers:
        return declarations.only(consumers=[name])
    known = ", ".join(declarations.subscriptions) or "none"
    raise UsageError(f"the app has no subscription {name!r}. Nothing was changed. Its subscriptions: {known}")


def _confirm(registration: Registration) -> None:
    name = registration.subscription
    consequence = "keeps the rows that the old code has computed"
    if registration.kind != "read_model":
        consequence = "handles only the event types of this code from now on"
    print_message(f"{name} {consequence}. Processes with other code stop running it.\nAccept the definition? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailed("canceled. Nothing was changed.")
