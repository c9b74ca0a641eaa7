"""`fait log adopt`: a log that was restored, copied or failed over goes on in a new epoch."""

import sys
from typing import Annotated

import typer

from fait._store.adoption import Adopted
from fait._store.open import open_schema, shown_url
from fait._tools.cli.opening import JsonOption, StoreOption
from fait._tools.cli.output import CommandFailed, command, json_line, line, say, table

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
    schema = open_schema(store)
    if not yes:
        planned = await schema.adopt(in_place=in_place, rehearse=True)
        say(
            f"{schema.where}: log {planned.was.log_id} ends at position {planned.head:,} and would go on in epoch "
            f"{planned.now.epoch}; {_summary(planned)}. Stop whatever has it open, also where it was before.\n"
            "Begin the new epoch? [y/N]"
        )
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandFailed("Nothing was changed.")
    adopted = await schema.adopt(in_place=in_place, rehearse=False)
    if as_json:
        json_line({"store": shown_url(store), **_as_json(adopted)})
    else:
        _tell(adopted)


def _summary(adopted: Adopted) -> str:
    behind = sum(not each.taken for each in adopted.checkpoints)
    return f"{len(adopted.checkpoints) - behind} checkpoints go along, {behind} stay behind"


def _as_json(adopted: Adopted) -> dict[str, object]:
    return {
        "log_id": adopted.now.log_id,
        "was_epoch": adopted.was.epoch,
        "epoch": adopted.now.epoch,
        "head": adopted.head,
        "checkpoints": adopted.checkpoints,
    }


def _tell(adopted: Adopted) -> None:
    line(
        f"log {adopted.now.log_id}: epoch {adopted.was.epoch} ended, epoch {adopted.now.epoch} begins after position "
        f"{adopted.head:,}"
    )
    table(
        ("subscription", "position", "checkpoint"),
        [
            (each.subscription, f"{each.position}", "went along" if each.taken else "stays behind")
            for each in adopted.checkpoints
        ],
    )
    behind = [each.subscription for each in adopted.checkpoints if not each.taken]
    if behind:
        say(
            f"These do not start: {', '.join(behind)}. Their checkpoints lie beyond the end, or belong to an earlier "
            "epoch: they handled events that are gone, and will never be told so. A read model: fait rebuild NAME. A "
            "handler: decide what its effects call for; then open the app once with forget=['NAME']: it starts anew."
        )
