"""`fait definition`: shows the stored definition of a subscription, compares that of the app, and replaces it."""

from collections.abc import Sequence

import typer

from fait._app import declarations_of
from fait._decisions.definition_parts import DefinitionParts, parts_from_json
from fait._declarations import Declarations
from fait._errors import UsageError
from fait._store.ports.registrations import Registration
from fait._subscriptions.registration import RegistrationChanges
from fait._system import compare_definition, open_system
from fait._tools.cli.operator import ByOption, NameArgument, ReasonOption, YesOption, operator_name, registration_of
from fait._tools.cli.options import AppOption, JsonOption, StoreOption, load_app, open_readonly
from fait._tools.cli.output import CommandFailed, command, print_json, print_line, print_message, print_table
from fait._tools.cli.standard_input import confirm

__all__ = ["definition"]

definition = typer.Typer(help="Manage the stored definitions of subscriptions.", no_args_is_help=True)


@definition.command("show")
@command
async def show(name: NameArgument, store: StoreOption, as_json: JsonOption = False) -> None:
    """Show the stored definition of a subscription: its options, columns, events and code.

    Events and code have a short hash: it differs if they have changed.
    """
    async with open_readonly(store) as opened:
        registration = await registration_of(opened, name)
        text = await opened.registrations.definition(name)
    parts = parts_from_json(text) or DefinitionParts()
    if as_json:
        print_json({**_described(registration), "definition_hash": registration.definition_hash, "parts": parts})
        return
    rows = [
        (kind, part, value)
        for kind, values in (
            ("option", parts.settings), ("column", parts.columns), ("event", parts.events), ("code", parts.code),
        )
        for part, value in values.items()
    ]  # fmt: skip
    print_table(("part", "name", "value"), rows)
    if not rows:
        print_message(f"the parts of the definition of {name} are not stored")


@definition.command("diff")
@command
async def diff(name: NameArgument, store: StoreOption, app: AppOption, as_json: JsonOption = False) -> None:
    """Say what differs between the definition of the app and the stored one. Nothing is changed.

    The exit code is 1 if they differ.
    """
    part = _only(declarations_of(load_app(app)), name)
    async with open_readonly(store) as opened:
        await registration_of(opened, name)
        differences = await compare_definition(part, opened, name)
    if as_json:
        print_json({"subscription": name, "differs": differences is not None, "differences": differences or ()})
    elif differences is None:
        print_line(f"{name}: the definition of the app is the stored one")
    for each in () if as_json else differences or ():
        print_line(f"{name}: {each}")
    if differences is not None:
        raise CommandFailed(_conclusion(name, differences))


def _conclusion(name: str, differences: Sequence[str]) -> str:
    what = "" if differences else ", but not in which part: the store does not have the parts"
    return f"the definition of {name} in the app differs from the stored one{what}. Nothing was changed."


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

    Accept a read model only if the new code computes the same rows as the old one; otherwise run fait rebuild.
    Processes with the old code stop running it.

    Accept a handler, relay or consumer if it is to handle fewer event types than before. End all processes with the old
    code first, also web processes. Where only the types differ, its workers continue, and pass over the events of a
    removed type; and whatever opens the old code adds the type again. Where more differs, such as the order key, they
    stop running it.
    """
    part = _only(declarations_of(load_app(app)), name)
    async with open_readonly(store) as opened:
        registration = await registration_of(opened, name)
        differences = await compare_definition(part, opened, name)
    # fault: equal-definition-accepted
    if differences is None:
        _print_unchanged(registration, as_json)
        return
    if not yes:
        _ask(registration, differences)
    changes = RegistrationChanges(accepted=[name], by=operator_name(by), reason=reason)
    async with open_system(part, store, run="elsewhere", changes=changes, create=False) as system:
        accepted = await registration_of(system.store, name)
    if as_json:
        print_json({**_described(accepted), "changed": True, "differences": differences})
    else:
        print_line(f"{name}: the definition of the app is stored, as revision {accepted.revision}")


def _print_unchanged(registration: Registration, as_json: bool) -> None:
    if as_json:
        print_json({**_described(registration), "changed": False, "differences": ()})
    else:
        print_line(f"{registration.subscription}: the definition of the app is the stored one. Nothing was changed.")


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


def _described(registration: Registration) -> dict[str, object]:
    return {
        "subscription": registration.subscription,
        "revision": registration.revision,
        "handled_types": registration.handled_types,
    }


def _ask(registration: Registration, differences: Sequence[str] | None) -> None:
    name = registration.subscription
    consequence = "keeps the rows that the old code has computed. Processes with other code stop running it."
    if registration.kind != "read_model":
        # fault: old-code-said-to-stop
        consequence = (
            "handles only the event types of this code from now on. End all processes with other code before, also web "
            "processes: if only the types differ, their workers continue, and pass over the events of a removed type, "
            "and whatever opens the other code adds the type again."
        )
    if differences:
        print_message(f"what differs: {', '.join(differences)}")
    confirm(f"{name} {consequence}\nAccept the definition?")
