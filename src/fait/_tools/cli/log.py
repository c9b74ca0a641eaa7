"""`fait log adopt`: starts a new epoch of a log that was restored, copied or failed over."""

from typing import Annotated

import typer

from fait._store.adoption import Adoption
from fait._store.command_hint import command_hint
from fait._store.open import open_admin
from fait._store.store_url import redacted_url
from fait._tools.cli.options import JsonOption, StoreOption
from fait._tools.cli.output import command, print_json, print_line, print_message, print_table
from fait._tools.cli.standard_input import confirm

__all__ = ["log"]

log = typer.Typer(help="Manage the identity of a log.", no_args_is_help=True)


@log.callback()
def _group() -> None:
    """Make Typer treat `adopt` as a subcommand: without a callback, a group with one command becomes that command."""


@log.command("adopt")
@command
async def adopt(
    store: StoreOption,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Adopt a log that was restored or copied within the same server. fait cannot detect this case.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a new epoch of a restored or copied log.

    Run it after the database was restored, copied or failed over. Checkpoints within the log are carried over to the
    new epoch. A subscription whose checkpoint is beyond the end of the log has processed events that are lost. It does
    not start until you rebuild its read model (fait rebuild) or delete its checkpoint (fait run --forget).
    """
    admin = open_admin(store)
    if not yes:
        planned = await admin.adopt(in_place=in_place, dry_run=True)
        confirm(
            f"{admin.location}: log {planned.previous.log_id} ends at position {planned.head:,} and is in epoch "
            f"{planned.previous.epoch_id}. A new epoch would start after this position. Checkpoints: "
            f"{_summary(planned)}. First stop all processes that use this log, also at its previous location.\n"
            "Start the new epoch?"
        )
    adopted = await admin.adopt(in_place=in_place, dry_run=False)
    if as_json:
        print_json({"store": redacted_url(store), **_as_json(adopted)})
    else:
        _print_result(adopted, redacted_url(store))


def _summary(adoption: Adoption) -> str:
    invalid = sum(not each.carried_over for each in adoption.checkpoints)
    return f"{len(adoption.checkpoints) - invalid} carried over, {invalid} not carried over"


def _as_json(adopted: Adoption) -> dict[str, object]:
    return {
        "log_id": adopted.current.log_id,
        "previous_epoch_id": adopted.previous.epoch_id,
        "epoch_id": adopted.current.epoch_id,
        "head": adopted.head,
        "checkpoints": adopted.checkpoints,
    }


def _print_result(adopted: Adoption, store: str) -> None:
    print_line(
        f"log {adopted.current.log_id}: epoch {adopted.current.epoch_id} starts after position {adopted.head:,}, epoch "
        f"{adopted.previous.epoch_id} is closed"
    )
    print_table(
        ("subscription", "position", "checkpoint"),
        [
            (each.subscription, f"{each.position}", "carried over" if each.carried_over else "not carried over")
            for each in adopted.checkpoints
        ],
    )
    blocked = [each.subscription for each in adopted.checkpoints if not each.carried_over]
    if blocked:
        print_message(
            f"These subscriptions do not start: {', '.join(blocked)}. Their checkpoints are beyond the end of the log "
            "or belong to another epoch or log: they may have processed events that are lost.\n"
            f"For a read model, run: {command_hint('rebuild NAME --app MODULE:APP', store)}\n"
            "For a handler, first correct the effects of the lost events. Then delete its checkpoint once: "
            f"{command_hint('run --app MODULE:APP --forget NAME', store)}"
        )
