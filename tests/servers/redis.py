"""Redis servers that the tests start, kill and freeze."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers.broker import BrokerServer, installed
from tests.servers.certificate import Certificate
from tests.servers.home import environment

INSTALL = "apt-get install redis-server"


def program() -> Path | None:
    """Return the program, or None if it is not installed."""
    return installed("redis-server")


class RedisServer(BrokerServer):
    """One Redis server. By default every write is in the append-only file on disk before it is acknowledged.

    Args:
        password: the password of the default user; None: clients need none.
        certificate: accept only TLS connections, with this certificate.
        settings: others, by the names of Redis' configuration.

    Raises:
        LookupError: it is not installed.
        RuntimeError: it did not start; the message has its log.
    """

    name = "redis"
    data = "appendonlydir"

    def __init__(
        self,
        *,
        password: str | None = None,
        certificate: Certificate | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = {"save": '""', "appendonly": "yes", "appendfsync": "always", **(settings or {})}
        self._password = password
        self._certificate = certificate
        if (found := program()) is None:
            raise LookupError(f"Redis is not installed: {INSTALL}")
        super().__init__(found)

    @property
    def url(self) -> str:
        """The URL without the password."""
        scheme = "rediss" if self._certificate else "redis"
        return f"{scheme}://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        settings = {"bind": "127.0.0.1", "port": str(self.port), "dir": ".", **self._settings}
        if self._password:
            settings["requirepass"] = self._password
        if self._certificate:
            public, private = self._certificate.copied(self.directory)
            settings |= {"port": "0", "tls-port": str(self.port), "tls-auth-clients": "no"}
            settings |= {"tls-cert-file": str(public), "tls-key-file": str(private)}
        lines = [f"{name} {value}" for name, value in settings.items()]
        (self.directory / "redis.conf").write_text("\n".join([*lines, ""]))

    def arguments(self) -> list[str | Path]:
        return [self.directory / "redis.conf"]

    def is_ready(self, pid: int) -> bool:
        # The port answers with an error while the append-only file is loaded.
        return self._answer("PING") == "PONG"

    def _answer(self, *command: str) -> str:
        client = [self._program.with_name("redis-cli"), "-p", str(self.port), "--no-auth-warning"]
        secret = {"REDISCLI_AUTH": self._password} if self._password else {}
        tls = ["--tls", "--insecure"] if self._certificate else []
        asked = [*client, *tls, *command]
        done = subprocess.run(asked, env={**environment(), **secret}, capture_output=True, text=True, check=False)
        return done.stdout.strip()
