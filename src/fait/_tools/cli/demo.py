"""`fait demo`: run the shop, which travels with the package, and see that everything adds up."""

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
    orders: Annotated[int, typer.Option(metavar="N", min=1, help="How many orders are placed.")] = 2000,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A new file to run it on; a temporary one if not given.", dir_okay=False),
    ] = None,
) -> None:
    """Run the shop: customers, stock and mail on a store of its own; then add everything up. The file stays."""
    run = _load_demo()
    if not await run(keep or Path(mkdtemp(prefix="fait-demo-")) / "shop.db", orders=orders):
        raise typer.Exit(1)


def _load_demo() -> Demo:
    """The example: in an installed package beside the library, else in the tree that the library runs from."""
    package = Path(__file__).parents[2]
    if (package / "examples" / "shop" / "demo.py").is_file():
        return cast("Demo", import_module("fait.examples.shop.demo").main)
    root = package.parents[1]
    if not (root / "examples" / "shop" / "demo.py").is_file():
        raise CommandFailed("the shop is not here: it travels in fait's wheel, and in its source tree")
    sys.path.insert(0, str(root))
    return cast("Demo", import_module("examples.shop.demo").main)
