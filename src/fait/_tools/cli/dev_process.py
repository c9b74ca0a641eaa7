"""The process of `fait dev` that runs the app, until a file changes or `fait dev` ends.

It ends in bounded time, also if a handler, a request or the database does not respond: after `STOP_TIMEOUT_S` the
operating system ends it. So it does if `fait dev` itself is killed.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import threading
import traceback
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import uvicorn
from uvicorn.supervisors import ChangeReload

from fait._app import App
from fait._errors import FaitError, ReadModelChanged, UsageError
from fait._system import System
from fait._tools.cli.host_check import HostCheck
from fait._tools.cli.options import import_target, load_app
from fait._tools.cli.output import print_message
from fait._tools.cli.run import report_changes

__all__ = ["DevApp", "Supervisor", "run_app"]

STOP_TIMEOUT_S: Final = 10
"""Maximum time from a signal to the end of the process."""

_REQUEST_TIMEOUT_S: Final = 2
"""Timeout for requests in progress when the process stops."""


class DevApp(NamedTuple):
    """What `fait dev` runs.

    Attributes:
        app: the application, as `module:name`.
        api: its web application, as `module:name`; empty if it has none.
        folder: the folder from which they are imported.
        store: URL of the store.
        host: name or address on which the API listens.
    """

    app: str
    api: str
    folder: Path
    store: str
    host: str


class Supervisor(ChangeReload):
    """Starts the process of the app, and starts another one when a file changes.

    The process does not get SIGINT, which a terminal sends to both: it would print a traceback if it is still importing
    modules. `fait dev` ends it with SIGTERM.
    """

    def startup(self) -> None:
        """Start the first process."""
        resource_tracker.ensure_running()  # its start, at the first process, would unblock the signal
        with _sigint_blocked():
            super().startup()

    def restart(self) -> None:
        """End the process and start another one."""
        with _sigint_blocked():
            super().restart()


@contextmanager
def _sigint_blocked() -> Generator[None]:
    """Block SIGINT in this process for a while, and in the processes that it starts, which inherit the mask."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def run_app(app: DevApp, sockets: list[socket.socket] | None) -> None:
    """Run the app in this process until SIGTERM.

    Errors are printed, not raised: they are corrected by saving a file, which starts another process.

    Args:
        app: what to run.
        sockets: the listening socket of the API; none if there is no API.
    """
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    os.environ["FAIT_STORE"] = app.store  # for the API, which opens the store itself
    try:
        asyncio.run(_run(app, sockets or []))
    except FaitError as error:
        _print_failure(f"fait: {error}")
    except Exception as error:
        _print_failure(_traceback_of(error, app.folder))
    except SystemExit:  # uvicorn has logged why the lifespan of the API failed
        _print_failure("fait: the app ended itself.")


def _stop_with_parent() -> None:
    """Stop this process when `fait dev` ends without stopping it, as after kill -9."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    # fault: app-survives-fait-dev
    os.kill(os.getpid(), signal.SIGTERM)


def _print_failure(text: str) -> None:
    print_message(f"{text}\nThe app does not run. Remove the cause, then save a file: fait dev starts the app again.")


def _traceback_of(error: Exception, folder: Path) -> str:
    """Return the traceback of an error without the frames outside of the project."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if Path(each.filename).is_relative_to(folder)]
    return "".join([*traceback.format_list(frames), *traceback.format_exception_only(error)]).rstrip()


async def _run(app: DevApp, sockets: list[socket.socket]) -> None:
    """Run the subscriptions and serve the API, which opens the app itself, and perhaps runs no subscriptions."""
    declared = load_app(app.app, app.folder)
    web = HostCheck(_load_api(app.api, app.folder), app.host) if app.api else _no_api
    async with AsyncExitStack() as stack:
        system = await _open(stack, declared, app.store)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, _ignore)  # of a second signal, while the app is closed
        reports = asyncio.create_task(report_changes(system, as_json=False))
        stack.callback(reports.cancel)
        await _serve(web, sockets)


async def _open(stack: AsyncExitStack, app: App, url: str) -> System:
    """Open an app. In an SQLite file, which only the developer uses, read models that changed are rebuilt."""
    rebuilt: list[str] = []
    while True:
        try:
            return await stack.enter_async_context(app.open(url, rebuild=rebuilt))
        except ReadModelChanged as changed:
            if changed.model in rebuilt or not url.startswith("sqlite:"):
                raise
            what = f" ({', '.join(changed.differences)})" if changed.differences else ""
            print_message(f"{changed.model}: its definition changed{what}, so its table is rebuilt")
            rebuilt.append(changed.model)


def _load_api(target: str, folder: Path) -> Any:
    module, name = import_target("--api", target, folder, example="shop.api:web")
    web = getattr(module, name, None)
    if not callable(web):
        raise UsageError(f"--api: {name!r} in module {module.__name__} is not a web application")
    return web


async def _no_api(*_: object) -> None:
    """Stand for the web application of an app without one; nothing listens."""


def _ignore() -> None:
    """Ignore a signal."""


async def _serve(web: Any, sockets: list[socket.socket]) -> None:
    """Serve until a signal; without sockets, only wait for it."""
    config = uvicorn.Config(web, lifespan="auto" if sockets else "off", timeout_graceful_shutdown=_REQUEST_TIMEOUT_S)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not each start and end; requests are shown
    await _Server(config).serve(sockets)


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. Further signals change nothing.

        The alarm has its default action, which ends the process.
        """
        if not self.should_exit:
            # fault: unbounded-stop
            signal.alarm(STOP_TIMEOUT_S)
        self.should_exit = True
