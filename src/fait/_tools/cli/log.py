"""`fait log adopt`: a log that was restored, copied or failed over goes on in a new epoch."""

import sys
from typing import Annotated

import typer

from fait._store.adoption import Adoption
from fait._store.open import open_admin, redacted_url
from fait._tools.cli.opening import JsonOption, StoreOption
from fait._tools.cli.output import CommandFailed, command, print_json, print_line, print_message, print_table

__all__ = ["log"]

log = typer.Typer(help="Look after the log itself.", no_args_is_help=True)


@log.callback()
def _group() -> None:
    """Without this, the only command would take the place of the group."""


@log.command("adopt")
@command
async def adopt(
    store: StoreOption,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place", help="Also if nothing shows that it was moved: restored or copied within the same server."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Begin a new epoch of a log that was restored, copied or failed over.

    Checkpoints within the log go along. One beyond its end has seen events that are gone: its subscription does not
    start until you have decided what to do.
    """
    schema = open_admin(store)
    if not yes:
        planned = await schema.adopt(in_place=in_place, dry_run=True)
        print_message(
            f"{schema.location}: log {planned.previous.log_id} ends at position {planned.head:,} and would go on in epoch "
            f"{planned.current.epoch}; {_summary(planned)}. Stop whatever has it open, also where it was before.\n"
            "Begin the new epoch? [y/N]"
        )
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandFailed("Nothing was changed.")
    adopted = await schema.adopt(in_place=in_place, dry_run=False)
    if as_json:
        print_json({"store": redacted_url(store), **_as_json(adopted)})
    else:
        _print_result(adopted)


def _summary(adopted: Adoption) -> str:
    behind = sum(not each.carried_over for each in adopted.checkpoints)
    return f"{len(adopted.checkpoints) - behind} checkpoints go along, {behind} stay behind"


def _as_json(adopted: Adoption) -> dict[str, object]:
    return {
        "log_id": adopted.current.log_id,
        "was_epoch": adopted.previous.epoch,
        "epoch": adopted.current.epoch,
        "head": adopted.head,
        "checkpoints": adopted.checkpoints,
    }


def _print_result(adopted: Adoption) -> None:
    print_line(
        f"log {adopted.current.log_id}: epoch {adopted.previous.epoch} ended, epoch {adopted.current.epoch} begins after position "
        f"{adopted.head:,}"
    )
    print_table(
        ("subscription", "position", "checkpoint"),
        [
            (each.subscription, f"{each.position}", "went along" if each.carried_over else "stays behind")
            for each in adopted.checkpoints
        ],
    )
    behind = [each.subscription for each in adopted.checkpoints if not each.carried_over]
    if behind:
        print_message(
            f"These do not start: {', '.join(behind)}. Their checkpoints lie beyond the end, or belong to an earlier "
            "epoch: they handled events that are gone, and will never be told so. A read model: fait rebuild NAME. A "
            "handler: decide what its effects call for; then open the app once with forget=['NAME']: it starts anew."
        )
