"""The brokers of the tests: they run as an unprivileged user, restart with their data, and leave nothing."""

import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import missing
from tests.crash.processes import Child, until
from tests.servers.broker import BrokerServer
from tests.servers.home import UNPRIVILEGED, account
from tests.servers.postgres import is_gone

ROOT = Path(__file__).parents[2]
KINDS = ["kafka", "nats", "redis", "rabbitmq"]

STARTS_AND_WAITS = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.servers.{0} import {1}Server
server = {1}Server()
print(server.pid, server.directory, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=KINDS)
def servers(request: pytest.FixtureRequest) -> Callable[..., BrokerServer]:
    return request.getfixturevalue(f"{request.param}_servers")


def accepts(server: BrokerServer) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", server.port)) == 0


def test_broker_restarts_on_same_port_after_kill(servers: Callable[..., BrokerServer]) -> None:
    server = servers()
    server.kill()
    assert not accepts(server)

    server.start()

    assert accepts(server)


def test_broker_listens_on_loopback_only_and_as_unprivileged_user(servers: Callable[..., BrokerServer]) -> None:
    process = psutil.Process(servers().pid)

    listening = [each.laddr.ip for each in process.net_connections() if each.status == psutil.CONN_LISTEN]
    assert set(listening) == {"127.0.0.1"}
    assert process.uids().real == (UNPRIVILEGED if account() else process.uids().real)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [Child.kill, Child.terminate])
def test_ended_test_run_leaves_no_broker(
    kind: str, end: Callable[[Child], None], request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(f"{kind}_servers")  # skips the test if the server is not installed
    child = Child("-c", STARTS_AND_WAITS.format(kind, kind.capitalize()), str(ROOT))
    until(child.has_printed)
    pid, directory = child.lines[0].split()
    process = psutil.Process(int(pid))

    end(child)

    until(lambda: is_gone(process) and not Path(directory).exists(), timeout_s=30)


@pytest.mark.parametrize(("asked", "outcome"), [("1", pytest.fail.Exception), ("0", pytest.skip.Exception)])
def test_missing_broker_fails_or_skips_test_with_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, asked: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("FAIT_REQUIRE_SERVICES", asked)

    with pytest.raises(outcome, match=r"Redis is not installed.*: apt-get install redis-server"):
        missing("Redis", "apt-get install redis-server")
