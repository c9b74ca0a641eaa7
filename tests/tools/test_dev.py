"""`fait dev` runs an app, starts it again when a file is saved, survives errors in files, and loses nothing."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import fait
from fait._tools.cli.dev_process import STOP_TIMEOUT_S
from fait._tools.cli.host_check import HostCheck
from tests.tools.dev_server import FAIT, DevServer, dev_server, new_project

WORKER = """
import fait

@fait.event("bell.rung")
class Rung:
    pass

app = fait.App("bell")

@app.on(Rung, start="beginning")
async def count(event: Rung) -> None:
    with open("handled", "a") as file:
        file.write("x")
"""


def add(client: httpx.Client, cart: str, quantity: int = 1) -> httpx.Response:
    return client.post(f"/carts/{cart}/items", json={"sku": "tea", "quantity": quantity})


def pieces(client: httpx.Client, written: httpx.Response) -> int:
    position = {"Fait-Position": written.headers["Fait-Position"]}
    deadline = time.monotonic() + 30
    while (answer := client.get("/products/tea", headers=position)).status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.1)  # after kill -9 another process gets the lease after its duration
    return answer.json()["pieces"]


class Customer(threading.Thread):
    """Adds an item to one cart after another, without repeating a request that fails."""

    def __init__(self, server: DevServer, name: str) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._name = name
        self.acknowledged: list[str] = []
        self.requested: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        with self._server.client() as client:
            while not self.stopped.wait(0.01):
                self.requested.append(f"{self._name}{len(self.requested)}")
                try:
                    add(client, self.requested[-1]).raise_for_status()
                except httpx.HTTPError:
                    continue
                self.acknowledged.append(self.requested[-1])

    def wait_for(self, count: int) -> None:
        """Wait until so many requests have been acknowledged."""
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < count:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} of {count} were acknowledged"
            time.sleep(0.02)


async def streams(project: Path) -> list[str]:
    async with fait.App("reader").open(f"sqlite:///{project}/dev.db", run="elsewhere", create=False) as s:
        return [each.stream.removeprefix("cart-") async for each in s.events()]


def test_two_reloads_and_kill_9_lose_nothing(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    with dev_server(project) as server:
        customer = Customer(server, "a")
        customer.start()
        for text in ("one", "two"):
            count = len(customer.acknowledged)
            customer.wait_for(count + 10)
            server.edit("shop.py", "this cart is", f"{text}: this cart is")
        customer.wait_for(len(customer.acknowledged) + 10)
        server.kill()  # the app ends with it, and frees the port
        customer.stopped.set()
        customer.join()
        port = server.url.rpartition(":")[2]
    with dev_server(project, "--port", port) as server, server.client() as client:
        written = add(client, "last")
        count = pieces(client, written)
        stored = asyncio.run(streams(project))

    assert len(stored) == len(set(stored)) == count
    assert {*customer.acknowledged, "last"} <= set(stored) <= {*customer.requested, "last"}
    assert written.headers["ETag"] == '"1"'


def test_error_in_a_saved_file_is_shown_until_the_next_save(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    with dev_server(project) as server, server.client() as client:
        add(client, "a").raise_for_status()
        server.edit("shop.py", "class Cart(", "class Cart((")
        server.wait_for("The app does not run. Remove the cause, then save a file")
        server.edit("shop.py", "class Cart((", "class Cart(")
        add(client, "a").raise_for_status()
        server.edit("api.py", "lifespan(app, os", "lifespan(app, 'mysql:' + os")
        server.wait_for("the app ended itself.")
        server.edit("api.py", "lifespan(app, 'mysql:' + os", "lifespan(app, os")

        assert add(client, "a").headers["ETag"] == '"3"'
        assert "shop.py" in server.output
        assert "importlib" not in server.output


def test_changed_read_model_is_rebuilt(tmp_path: Path) -> None:
    with dev_server(new_project(tmp_path)) as server, server.client() as client:
        add(client, "a", 2).raise_for_status()
        server.edit("shop.py", "+= event.quantity\n        return", "+= 10 * event.quantity\n        return")

        assert pieces(client, add(client, "a", 3)) == 50
        reason = "the code of Product.evolve"
        assert f"product: its definition changed ({reason}), so its table is rebuilt" in server.output


def test_changed_read_model_on_postgresql_is_left_to_fait_rebuild(
    tmp_path: Path, store_url: Callable[[str], str]
) -> None:
    project = new_project(tmp_path)
    with dev_server(project, "--port", "0", "--store", store_url("postgresql")) as server, server.client() as client:
        assert pieces(client, add(client, "a", 2)) == 2
        server.edit("shop.py", "+= event.quantity\n        return", "+= 10 * event.quantity\n        return")

        server.wait_for("fait rebuild product")
        assert "its table is rebuilt" not in server.output


def test_ctrl_c_ends_all_processes_with_exit_code_0(tmp_path: Path) -> None:
    with dev_server(new_project(tmp_path)) as server, server.client() as client:
        add(client, "a").raise_for_status()
        started_at = time.monotonic()

        assert server.interrupt() == 0
        assert time.monotonic() - started_at < STOP_TIMEOUT_S
        assert "Traceback" not in server.output


def test_ctrl_c_while_the_app_is_imported_prints_no_traceback(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    importing = "print('importing', flush=True); import time; time.sleep(30)\n"
    with dev_server(project) as server, server.client() as client:
        add(client, "a").raise_for_status()
        (project / "shop.py").write_text(importing + (project / "shop.py").read_text("utf-8"), "utf-8")
        server.wait_for("importing")

        assert server.interrupt() == 0
        assert "Traceback" not in server.output


@pytest.mark.parametrize("delay_s", [0, 0.2])
def test_ctrl_c_while_the_process_of_the_app_starts_prints_no_traceback(tmp_path: Path, delay_s: float) -> None:
    with dev_server(new_project(tmp_path)) as server:
        while server.app_process is None:
            time.sleep(0.001)
        time.sleep(delay_s)

        assert server.interrupt() == 0
        assert "Traceback" not in server.output


def test_app_that_does_not_stop_is_ended(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    text = (project / "api.py").read_text("utf-8")
    endless = "\n\n@web.get('/endless')\nasync def endless() -> None:\n    while True:\n        pass\n"
    (project / "api.py").write_text(text + endless, "utf-8")
    with dev_server(project) as server, server.client() as client:
        add(client, "a").raise_for_status()
        with pytest.raises(httpx.ReadTimeout):  # the request blocks the event loop
            client.get("/endless", timeout=1)
        assert server.interrupt() == 0


BLOCKED = """
import asyncio, time
from fait._tools.cli import dev_process

dev_process.STOP_TIMEOUT_S = 1

def block():
    print("blocked", flush=True)
    while True:
        pass

async def main():
    asyncio.get_running_loop().call_later(0.2, block)
    await dev_process._serve(dev_process._no_api, [])

asyncio.run(main())
"""


def test_blocked_process_is_ended_after_a_timeout() -> None:
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "blocked\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(8) == -signal.SIGALRM
        finally:
            process.kill()


def test_app_ends_when_fait_dev_is_killed(tmp_path: Path) -> None:
    with dev_server(new_project(tmp_path)) as server, server.client() as client:
        add(client, "a").raise_for_status()
        server.kill()


def test_app_without_api_runs_its_handlers_and_listens_on_no_port(tmp_path: Path) -> None:
    (tmp_path / "bells.py").write_text(WORKER)
    with dev_server(tmp_path, "--app", "bells:app") as server:
        server.wait_for("count: ")
        asyncio.run(ring(tmp_path))
        handled, deadline = tmp_path / "handled", time.monotonic() + 30
        while not (handled.exists() and handled.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)

        assert handled.read_text() == "x"
        app = server.app_process
        assert app is not None
        assert not app.net_connections()
        assert "api " not in server.output
        assert server.interrupt() == 0


async def ring(folder: Path) -> None:
    async with fait.App("bell").open(f"sqlite:///{folder}/dev.db", run="elsewhere", create=False) as s:
        await s.publish(fait.Untyped("bell.rung", {}), stream="bell-1")


def run_dev(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FAIT, "dev", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_port_in_use_is_an_error_with_a_command_to_type(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_dev(project, "--port", str(port))

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use. Nothing was started." in done.stderr
    assert not (project / "dev.db").exists()


def test_address_of_another_machine_is_an_error_about_the_address(tmp_path: Path) -> None:
    done = run_dev(new_project(tmp_path), "--host", "192.0.2.1")

    assert done.returncode == 1
    assert "Nothing was started. Choose another port with --port, or another address of this machine" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no application: give --app module:name"),
        (["--app", "shop:app", "--store", "mysql://x"], "unknown store URL"),
        (["--app", "shop:app", "--port", "70000"], "less than or equal to 65535"),
    ],
)
def test_wrong_usage_ends_at_once(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run_dev(tmp_path, *arguments)

    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_address_that_others_can_reach_is_shown_with_a_warning(tmp_path: Path) -> None:
    with dev_server(new_project(tmp_path), "--host", "0.0.0.0", "--port", "0") as server, server.client() as client:
        assert "warning: other machines can reach the API on 0.0.0.0" in server.output
        assert add(client, "a").status_code == 201


async def accept(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("listens_on", "host", "status"),
    [
        ("127.0.0.1", "localhost", 200),
        ("127.0.0.1", "LOCALHOST:8000", 200),
        ("127.0.0.1", "127.0.0.1:8000", 200),
        ("127.0.0.1", "[::1]:8000", 200),
        ("127.0.0.1", "shop.example", 400),
        ("127.0.0.1", "localhost.shop.example", 400),
        ("127.0.0.1", "localhost@shop.example", 400),
        ("127.0.0.1", "192.168.1.5", 400),
        ("127.0.0.1", "", 400),
        ("127.0.0.1", "[", 400),
        ("0.0.0.0", "192.168.1.5:8000", 200),
        ("0.0.0.0", "localhost", 200),
        ("0.0.0.0", "shop.example", 400),
        ("my-pc", "my-pc:8000", 200),
        ("my-pc", "shop.example", 400),
    ],
)
async def test_requests_for_foreign_names_are_refused(listens_on: str, host: str, status: int) -> None:
    transport = httpx.ASGITransport(HostCheck(accept, listens_on))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/", headers={"Host": host})

    assert answer.status_code == status
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("listens_on", "host", "origin", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8000", "http://evil.example", 403),
        ("127.0.0.1", "localhost", "http://localhost.evil.example", 403),
        ("127.0.0.1", "localhost", "null", 403),
        ("127.0.0.1", "localhost", "http://[", 403),
        ("127.0.0.1", "localhost:8000", "http://localhost:8000", 200),
        ("127.0.0.1", "127.0.0.1:8000", "http://localhost:5173", 200),
        ("127.0.0.1", "localhost:8000", "http://[::1]:8000", 200),
        ("0.0.0.0", "192.168.1.5:8000", "http://192.168.1.5:8000", 200),
        ("0.0.0.0", "192.168.1.5:8000", "http://203.0.113.7", 403),
        ("my-pc", "my-pc:8000", "http://MY-PC:8000", 200),
    ],
)
async def test_requests_from_pages_of_other_hosts_are_refused(
    listens_on: str, host: str, origin: str, status: int
) -> None:
    transport = httpx.ASGITransport(HostCheck(accept, listens_on))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/", headers={"Host": host, "Origin": origin})

    assert (answer.status_code, "other hosts" in answer.text) == (status, status == 403)


@pytest.mark.parametrize("headers", [[], [(b"host", b"localhost"), (b"host", b"shop.example")]])
@pytest.mark.parametrize(("kind", "first"), [("http", "http.response.start"), ("websocket", "websocket.close")])
async def test_request_without_one_host_is_refused(headers: list[Any], kind: str, first: str) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await HostCheck(accept, "127.0.0.1")({"type": kind, "headers": headers}, send, send)

    assert sent[0]["type"] == first
    assert sent[0].get("status", 400) == 400


def test_missing_extra_prints_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fait._tools.cli.dev.find_spec", lambda name: None)

    output = run("dev")

    assert (output.exit_code, 'pip install "fait[dev]"' in output.stderr) == (1, True)
