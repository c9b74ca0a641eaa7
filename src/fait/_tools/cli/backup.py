"""`fait backup`: copies a store that may be in use."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from fait._store.open import open_admin
from fait._store.store_url import redacted_url
from fait._tools.cli.options import JsonOption, StoreOption
from fait._tools.cli.output import command, print_json, print_message
from fait._tools.cli.progress import ProgressMeter

__all__ = ["backup"]


@command
async def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to create. It must not exist.")],
    store: StoreOption,
    as_json: JsonOption = False,
) -> None:
    """Copy an SQLite store to a file.

    Processes may continue to use the store. The copy has all events up to one moment. It is checked before it gets its
    name, so an interrupted backup creates no file; a partial copy of a backup that was killed is removed by the next
    one to FILE. Use pg_dump for PostgreSQL. After a restore, run `fait log adopt` before a process appends.
    """
    started = time.monotonic()
    with ProgressMeter("backup", 1000, "pages") as meter:
        try:
            position = await open_admin(store).backup(
                str(file), lambda copied, total: meter.update(1000 * copied // max(total, 1), copied)
            )
        except asyncio.CancelledError:
            print_message(f"fait: the backup was interrupted. {file} was not created.")
            raise
    seconds, size_bytes = round(time.monotonic() - started, 3), file.stat().st_size
    if as_json:
        print_json(
            {"store": redacted_url(store), "file": str(file), "position": position, "bytes": size_bytes,
             "seconds": seconds}
        )  # fmt: skip
    else:
        print(f"copied {redacted_url(store)} to {file}: {size_bytes:,} bytes, up to position {position:,}")
        print(
            "If you restore it, run fait log adopt --store URL before a process appends: positions will be used again."
        )
