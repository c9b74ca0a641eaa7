"""`fait demo`: runs the example shop, which is part of the package, and audits the result."""

import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, cast

import typer

from fait._tools.cli.output import CommandFailed, command

__all__ = ["demo"]

Demo = Callable[..., Awaitable[bool]]


@command
async def demo(
    orders: Annotated[int, typer.Option(metavar="N", min=1, help="Number of orders to place.")] = 2000,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="SQLite file to create. Default: a file in a new temporary directory.", dir_okay=False
        ),
    ] = None,
) -> None:
    """Run an example shop on a new SQLite file.

    Simulates customers, stock and e-mails, then audits all sums. The exit code is 1 if a sum is wrong. The file remains
    for inspection with other commands.
    """
    run = _load_demo()
    if not await run(file or Path(mkdtemp(prefix="fait-demo-")) / "shop.db", orders=orders):
        raise typer.Exit(1)


def _load_demo() -> Demo:
    """Import the example from the installed package, or from the source tree that contains this file."""
    package = Path(__file__).parents[2]
    if (package / "examples" / "shop" / "demo.py").is_file():
        return cast("Demo", import_module("fait.examples.shop.demo").main)
    root = package.parents[1]
    if not (root / "examples" / "shop" / "demo.py").is_file():
        raise CommandFailed("the example shop is missing. Install fait from its wheel, or run it from its source tree.")
    sys.path.insert(0, str(root))
    return cast("Demo", import_module("examples.shop.demo").main)
