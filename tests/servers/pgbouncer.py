"""PgBouncer in front of a PostgreSQL server that the tests started."""

import contextlib
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.servers.home import Home, free_port
from tests.servers.postgres import PostgresServer

FIRST_WITH_PREPARED_STATEMENTS = (1, 21)


@cache
def installed() -> tuple[Path, tuple[int, int]] | None:
    """Return the program and its version, or None if it is not installed."""
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"PgBouncer (\d+)\.(\d+)", said)
    assert version, said
    return Path(found), (int(version[1]), int(version[2]))


class PgBouncer:
    """A running PgBouncer; clients connect to its `url` instead of the server's.

    Args:
        server: the server behind it.
        pool_mode: "session", "transaction" or "statement": after which a server connection returns to the pool.
        pool_size: maximum number of connections to the server.
        max_prepared_statements: named statements kept per connection; None is PgBouncer's default.
        settings: any others, by the names of PgBouncer's configuration.

    Raises:
        LookupError: it is not installed, or too old for `max_prepared_statements`.
        RuntimeError: it did not start; the message has its log.
    """

    def __init__(
        self,
        server: PostgresServer,
        *,
        pool_mode: Literal["session", "transaction", "statement"] = "transaction",
        pool_size: int = 5,
        max_prepared_statements: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        here = installed()
        if here is None:
            raise LookupError("PgBouncer is not installed")
        program, version = here
        chosen = {"pool_mode": pool_mode, "default_pool_size": str(pool_size), **(settings or {})}
        if max_prepared_statements is not None:
            if version < FIRST_WITH_PREPARED_STATEMENTS:
                raise LookupError(f"PgBouncer {version[0]}.{version[1]} is older than max_prepared_statements (1.21)")
            chosen["max_prepared_statements"] = str(max_prepared_statements)
        self.port = free_port()
        self._home = Home("pgbouncer", end_with="KILL")
        try:
            configuration = self._home.path / "pgbouncer.ini"
            configuration.write_text(ini(server.port, self.port, chosen))
            self._home.start(program, configuration, is_ready=self._is_ready)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def log(self) -> Path:
        return self._home.log

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def kill(self) -> None:
        """Send SIGKILL; its clients and the server lose their connections."""
        self._home.stop(signal.SIGKILL)

    def close(self) -> None:
        self._home.close()

    def _is_ready(self, _pid: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


def ini(server_port: int, port: int, settings: Mapping[str, str]) -> str:
    lines = [
        "[databases]",
        f"* = host=127.0.0.1 port={server_port} user=postgres",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        *(f"{name} = {value}" for name, value in settings.items()),
    ]
    return "\n".join([*lines, ""])
