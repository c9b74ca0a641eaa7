"""`fait dev`: serves the API of an app and runs its subscriptions, and starts both again when a file is saved.

This process holds the listening socket and watches the files. A second process, which `dev_process` describes, runs the
app. It is replaced whenever a file changes: requests wait in the socket until the next one is ready.
"""

import errno
import socket
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fait._clock import now
from fait._errors import MissingExtra, UsageError
from fait._evolution.locks.settings import read_settings
from fait._store.open import backend_of
from fait._store.store_url import redacted_url
from fait._tools.cli.host_check import is_loopback
from fait._tools.cli.output import CommandFailed, exit_on_error, print_message

if TYPE_CHECKING:
    from fait._tools.cli.dev_process import DevApp  # imports uvicorn, which is optional

__all__ = ["dev"]

_STORE: Final = "sqlite:///dev.db"


def dev(
    app: Annotated[
        str | None,
        typer.Option(
            "--app", metavar="MODULE:APP", help="The application. Default: app in [tool.fait] of pyproject.toml."
        ),
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(
            "--api",
            metavar="MODULE:WEB",
            help="Its web application, such as one of FastAPI. Default: api in [tool.fait] of pyproject.toml.",
        ),
    ] = None,
    store: Annotated[
        str, typer.Option("--store", "-s", metavar="URL", envvar="FAIT_STORE", help="Store URL.")
    ] = _STORE,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address on which the API listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0: a free one.")] = 8000,
) -> None:
    """Run an app for development: its API, its handlers and its read models, in one process.

    The process starts again whenever a Python file in the project's folder is saved. That is the folder of the
    pyproject.toml with a table tool.fait, or the working directory. The API gets the store's URL as FAIT_STORE. It
    answers requests for localhost only, unless --host names another address. Ctrl-C stops everything, after at most ten
    seconds.
    """
    with exit_on_error():
        if not find_spec("uvicorn"):
            raise MissingExtra("fait dev", "dev")
        from fait._tools.cli.dev_process import DevApp

        settings = read_settings(Path.cwd(), today=now().date())
        if not (app := app or settings.app):
            raise UsageError(
                'no application: give --app module:name, or set it in pyproject.toml, in [tool.fait]: app = "shop:app"'
            )
        backend_of(store)  # an invalid URL needs no restart after a saved file
        api = api or settings.api
        sockets = [_listen(host, port)] if api else []
        _print_start(store, host, sockets)
        _supervise(DevApp(app, api, settings.folder, store, host), sockets)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a second `fait dev` cannot have the same port."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            remedy = (
                f"Stop the program that uses the port, or use another one, such as: fait dev --port {port % 65535 + 1}"
            )
        else:
            remedy = "Choose another port with --port, or another address of this machine with --host."
        message = f"cannot listen on {host}, port {port}: {error.strerror}. Nothing was started. {remedy}"
        raise CommandFailed(message) from None
    return listener


def _print_start(store: str, host: str, sockets: list[socket.socket]) -> None:
    print_message(f"store   {redacted_url(store)}")
    if store == _STORE:
        print_message("        in other terminals: export FAIT_STORE=sqlite:///dev.db")
        print_message("        on PostgreSQL: fait dev --store postgresql://USER@HOST/DATABASE")
    for each in sockets:
        shown = f"[{host}]" if ":" in host else host
        print_message(f"api     http://{shown}:{each.getsockname()[1]}")
        if not is_loopback(host):
            print_message(
                f"warning: other machines can reach the API on {host}. It is made for development: use it only in a "
                "network that you trust."
            )
    print_message("Saving a Python file starts the app again. Stop with Ctrl-C.")


def _supervise(app: "DevApp", sockets: list[socket.socket]) -> None:
    """Run the app in a second process until SIGINT or SIGTERM; replace the process when a file changes."""
    from uvicorn import Config

    from fait._tools.cli.dev_process import Supervisor, run_app

    config = Config("fait", reload=True, reload_dirs=[str(app.folder)], log_level="warning")
    Supervisor(config, target=partial(run_app, app), sockets=sockets).run()
