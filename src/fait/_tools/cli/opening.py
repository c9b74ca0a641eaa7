"""Which store and which app a command is about, and how they are opened."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from fait._app import App, declarations_of
from fait._errors import UsageError
from fait._store.open import Store, open_store

__all__ = ["AppOption", "JsonOption", "StoreOption", "load_app", "open_readonly"]

StoreOption = Annotated[
    str,
    typer.Option(
        "--store", "-s", metavar="URL", envvar="FAIT_STORE", help="URL of the store, as in sqlite:///shop.db."
    ),
]
AppOption = Annotated[
    str | None,
    typer.Option(
        "--app", metavar="MODULE:APP", help="Where the app is, as in shop.app:shop; found from this directory."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


@asynccontextmanager
async def open_readonly(url: str) -> AsyncGenerator[Store, None]:
    """Open a store that exists, and close it again."""
    store = await open_store(url, create=False)
    try:
        yield store
    finally:
        await store.close()


def load_app(place: str) -> App:
    """The app that `module:name` means, looked for from the working directory."""
    module_name, colon, name = place.partition(":")
    if not (module_name and colon and name):
        raise UsageError(f"--app {place!r} is not module:app, as in --app shop.app:shop")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module_name}.".startswith(f"{missing.name}."):
            raise UsageError(f"--app: {module_name} was found, but imports {missing.name}, which was not") from None
        raise UsageError(f"--app: there is no module {missing.name!r} in {Path.cwd()} or among the installed") from None
    app = getattr(module, name, None)
    if not isinstance(app, App):
        known = ", ".join(key for key, value in vars(module).items() if isinstance(value, App)) or "none"
        raise UsageError(f"--app: {name!r} in {module_name} is not a fait.App; apps in it: {known}")
    declarations_of(app).resolve()
    return app
