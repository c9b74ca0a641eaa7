"""Options shared by commands, and how a command opens its store and loads its app."""

import os
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from fait._app import App, declarations_of
from fait._errors import UsageError
from fait._store.open import open_store
from fait._store.ports.store import Store

__all__ = ["AppOption", "JsonOption", "OptionalAppOption", "StoreOption", "import_target", "load_app", "open_readonly"]

_APP_HELP = (
    "The application as module:name, as in --app shop.app:shop. Modules in the working directory precede those of "
    "installed packages."
)

StoreOption = Annotated[
    str,
    typer.Option(
        "--store", "-s", metavar="URL", envvar="FAIT_STORE", help="Store URL, as in --store sqlite:///shop.db."
    ),
]
AppOption = Annotated[str, typer.Option("--app", metavar="MODULE:APP", help=_APP_HELP)]
OptionalAppOption = Annotated[str | None, typer.Option("--app", metavar="MODULE:APP", help=_APP_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to standard output: one JSON object per line.")]


@asynccontextmanager
async def open_readonly(url: str) -> AsyncGenerator[Store, None]:
    """Open an existing store and close it at the end of the block. A missing store is an error."""
    store = await open_store(url, create=False)
    try:
        yield store
    finally:
        await store.close()


def load_app(target: str, folder: Path | None = None) -> App:
    """Import the app named `module:name`, also from a folder; by default the working directory.

    Raises:
        UsageError: the target is malformed, the module cannot be imported, or the name is not an app.
    """
    module, name = import_target("--app", target, folder, example="shop.app:shop")
    app = getattr(module, name, None)
    if not isinstance(app, App):
        available = ", ".join(key for key, value in vars(module).items() if isinstance(value, App)) or "none"
        raise UsageError(
            f"--app: {name!r} in module {module.__name__} is not a fait.App. Apps in this module: {available}"
        )
    declarations_of(app)  # raises if they contradict each other
    return app


def import_target(option: str, target: str, folder: Path | None, *, example: str) -> tuple[ModuleType, str]:
    """Import the module of `module:name`, and return it with the name.

    Args:
        option: the option that has the value, for messages.
        target: its value.
        folder: the folder to import from; None: the working directory.
        example: a valid value, for messages.

    Raises:
        UsageError: the target is malformed, or the module cannot be imported.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise UsageError(f"invalid {option} {target!r}: expected module:name, such as {option} {example}")
    try:
        with _on_path(folder := folder or Path.cwd()):
            return import_module(module_name), name
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"{option}: module {module_name} imports {error.name}, which is not installed. Install it in the "
                "environment of the fait command."
            ) from None
        raise UsageError(
            f"{option}: no module named {error.name!r} in {folder} or among the installed packages. Run the command "
            "in the directory that contains the module."
        ) from None


@contextmanager
def _on_path(directory: Path) -> Generator[None]:
    """Let a block import modules of a directory in preference to installed packages.

    A file of the directory never replaces a module of the standard library, such as `json`. After the block it
    does not replace an installed package either: fait imports its database driver only when it opens the store.
    """
    folder = str(directory)
    if folder in sys.path:
        yield
        return
    library = Path(os.__file__).parent
    places = [each for each in sys.path if Path(each) in (library, library / "lib-dynload")]
    sys.path.insert(max(map(sys.path.index, places), default=-1) + 1, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        sys.path.append(folder)
