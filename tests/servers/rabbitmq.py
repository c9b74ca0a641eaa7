"""RabbitMQ servers that the tests start, kill and freeze."""

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers.broker import BrokerServer, installed
from tests.servers.certificate import Certificate
from tests.servers.home import UNPRIVILEGED, Home, account, environment, free_port

INSTALL = "apt-get install rabbitmq-server"
LIBRARIES = Path("/usr/lib/rabbitmq/lib")
ERLANG = Path("/usr/lib/erlang")


def program() -> Path | None:
    """Return the script that starts the server, or None if it is not installed.

    The script of the same name in /usr/sbin insists on the user `rabbitmq`, or on root.
    """
    found = sorted(LIBRARIES.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    return found[-1] if found and installed("erl") else None


class RabbitmqServer(BrokerServer):
    """One RabbitMQ server with an Erlang port mapper of its own.

    Args:
        password: the password of the user `fait`; None: clients are the user `guest`, with its known password.
        certificate: accept only TLS connections, with this certificate.
        settings: others, by the names of RabbitMQ's configuration.
        options: options of the URL, such as "queues=stream".

    Raises:
        LookupError: it is not installed.
        RuntimeError: it did not start; the message has its log.
    """

    name = "rabbitmq"

    def __init__(
        self,
        *,
        password: str | None = None,
        certificate: Certificate | None = None,
        settings: Mapping[str, str] | None = None,
        options: str = "",
    ) -> None:
        self._options = f"?{options}" if options else ""
        self._password = password
        self._certificate = certificate
        self._settings = dict(settings or {})
        if (found := program()) is None:
            raise LookupError(f"RabbitMQ is not installed: {INSTALL}")
        self._script = found
        self._mapper_port, self._node_port = free_port(), free_port()
        self._mapper = Home("epmd", end_with="TERM")
        super().__init__(Path("/usr/bin/env"))

    @property
    def url(self) -> str:
        """The URL without a password."""
        scheme = "amqps" if self._certificate else "amqp"
        return f"{scheme}://127.0.0.1:{self.port}{self._options}"

    def prepare(self) -> None:
        listener = "listeners.ssl.default" if self._certificate else "listeners.tcp.default"
        settings = {
            listener: f"127.0.0.1:{self.port}",
            "loopback_users": "none",
            "disk_free_limit.absolute": "50MB",
            "log.file": "false",
            "log.console": "true",
            "log.console.level": "warning",
            **self._settings,
        }
        if self._certificate:
            public, private = self._certificate.copied(self.directory)
            settings |= {"listeners.tcp": "none", "ssl_options.cacertfile": str(public)}
            settings |= {"ssl_options.certfile": str(public), "ssl_options.keyfile": str(private)}
        if self._password:
            settings |= {"default_user": "fait", "default_pass": self._password}
        self._write("rabbitmq.conf", "".join(f"{name} = {value}\n" for name, value in settings.items()))
        self._write("enabled_plugins", "[].\n")
        self._write("erl", '#!/bin/sh\nexec "$BINDIR/erlexec" "$@"\n')
        self._mapper.start(
            "/usr/bin/epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1",
            is_ready=lambda _pid: answers(self._mapper_port),
        )  # fmt: skip

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)
        if account():
            os.chown(path, UNPRIVILEGED, UNPRIVILEGED)

    def arguments(self) -> list[str | Path]:
        return [*(f"{name}={value}" for name, value in self._variables().items()), "/bin/sh", self._script]

    def _variables(self) -> dict[str, str]:
        home, loopback = self.directory, "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            # In the place of `erl`, which has the folder of another user built in: a script that needs no such folder.
            "PATH": f"{home}:/usr/bin:/bin",
            "ROOTDIR": str(ERLANG),
            "BINDIR": str(next(ERLANG.glob("erts-*/bin"))),
            "EMU": "beam",
            "PROGNAME": "erl",
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "fait@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ALLOW_INPUT": "1",  # without a shell in between, so that the process is the server's
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-start_epmd false -noinput +sbwt none {loopback}",
            "RABBITMQ_CTL_ERL_ARGS": f"-start_epmd false {loopback}",
        }

    def is_ready(self, pid: int) -> bool:
        # The listeners are started after all queues are recovered. A client that says nothing is disconnected.
        return answers(self.port)

    async def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` and return what it prints. It takes seconds, and heartbeats of connections are due then."""
        command = [self._script.with_name("rabbitmqctl"), *arguments]
        done = await asyncio.to_thread(
            subprocess.run,
            ["/usr/bin/env", *(f"{name}={value}" for name, value in self._variables().items()), "/bin/sh", *command],
            cwd=self.directory, env=environment(), capture_output=True, text=True, check=True, **account(),
        )  # fmt: skip
        return done.stdout

    def close(self) -> None:
        super().close()
        self._mapper.close()


def answers(port: int) -> bool:
    """Whether a server accepts connections at a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
