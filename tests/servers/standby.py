"""A physical standby of a PostgreSQL server that the tests started."""

import subprocess
from typing import Literal

from tests.servers.home import Home, account, free_port
from tests.servers.postgres import STOPS, PostgresServer


class Standby:
    """A running standby. It replicates as fast as it can; a primary that names it waits for it."""

    def __init__(self, primary: PostgresServer) -> None:
        self.port = free_port()
        self._programs = primary.programs
        self._home = Home("standby", end_with="QUIT")
        self._data = self._home.path / "data"
        self._options = primary.options
        try:
            place = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "--checkpoint=fast"]
            self._home.run(self._programs / "pg_basebackup", "-D", self._data, "-R", *place)
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it with the same data and port, and wait until it accepts connections."""
        settings = [f"--{name}={value}" for name, value in (self._options | {"port": str(self.port)}).items()]
        self._home.start(self._programs / "postgres", "-D", self._data, *settings, is_ready=self._is_ready)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it, as `PostgresServer.stop` does."""
        self._home.stop(STOPS[mode])

    def take_over(self, port: int) -> None:
        """Restart on the port of the primary, which has been stopped."""
        self.stop()
        self.port = port
        self.start()

    def promote(self) -> None:
        """Make it a primary, on a new timeline."""
        self._home.run(self._programs / "pg_ctl", "promote", "-w", "-D", self._data)

    def close(self) -> None:
        """Stop it and remove its data."""
        self._home.close()

    def _is_ready(self, pid: int) -> bool:
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False, **account()).returncode == 0
