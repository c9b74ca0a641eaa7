"""`fait dev` as a process, in a project of `fait new`."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

STARTER = Path(__file__).parents[2] / "examples" / "starter"
FAIT = Path(sys.executable).with_name("fait")


def new_project(folder: Path) -> Path:
    """Create a project as `fait new shop` does, and return its folder."""
    return shutil.copytree(STARTER, folder / "shop", ignore=shutil.ignore_patterns("__pycache__"))


class DevServer:
    """A running `fait dev`.

    Attributes:
        process: the process.
        folder: the folder of the project.
        url: address of the API.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._log = folder / "log"
        environment = {key: value for key, value in os.environ.items() if key != "FAIT_STORE"}
        with self._log.open("wb") as log:
            command = [FAIT, "dev", *(arguments or ("--port", "0"))]
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        self.wait_for("Stop with Ctrl-C")
        ports = re.findall(r"^api +http://\S+:(\d+)$", self.output, re.MULTILINE)
        self.url = f"http://127.0.0.1:{ports[0]}" if ports else ""

    @property
    def output(self) -> str:
        """What the process has printed."""
        return self._log.read_text("utf-8")

    @property
    def app_process(self) -> psutil.Process | None:
        """The process that runs the app; None if the app does not run."""
        children = psutil.Process(self.process.pid).children()
        return next((each for each in children if "spawn_main" in " ".join(each.cmdline())), None)

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until the process has printed a text so many times."""
        deadline = time.monotonic() + 60
        while self.output.count(text) < count:
            assert time.monotonic() < deadline, f"{text!r} was not printed: {self.output}"
            assert self.process.poll() is None or text in self.output, self.output
            time.sleep(0.02)

    def edit(self, file: str, old: str, new: str) -> None:
        """Save a changed file, and wait until the process of the app has ended because of it."""
        app = self.app_process
        text = (self.folder / file).read_text("utf-8")
        assert old in text
        count = self.output.count("Reloading")
        (self.folder / file).write_text(text.replace(old, new), "utf-8")
        self.wait_for("Reloading", count + 1)
        if app is not None:
            app.wait(30)

    def client(self) -> httpx.Client:
        """Return a client of the API. A request waits while the app starts again; a connection would be closed."""
        return httpx.Client(base_url=self.url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))

    def interrupt(self) -> int:
        """Send Ctrl-C to both processes, as a terminal does; return the exit code."""
        app = self.app_process
        assert app is not None
        app.send_signal(signal.SIGINT)
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        assert not app.is_running()
        return code

    def kill(self) -> None:
        """Kill `fait dev` with SIGKILL, and wait until the process of the app has ended, too."""
        app = self.app_process
        assert app is not None
        self.process.kill()
        try:
            app.wait(8)
        finally:
            with suppress(psutil.NoSuchProcess):
                app.kill()


@contextmanager
def dev_server(folder: Path, *arguments: str) -> Iterator[DevServer]:
    """Run `fait dev` in a folder; at the end kill its processes, if they still run."""
    server = DevServer(folder, *arguments)
    running = psutil.Process(server.process.pid)
    try:
        yield server
    finally:
        with suppress(psutil.NoSuchProcess):
            for each in [*running.children(recursive=True), running]:
                each.kill()
        server.process.wait()
