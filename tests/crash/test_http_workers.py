"""Two uvicorn workers on one store, of which one is killed: no read is wrong, and no payment is lost or made twice."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

import fait
from tests.faults.load import until

ROOT = Path(__file__).parents[2]
CLIENTS = 4
PAYMENTS = 8
"""Number of payments of each client; a worker is killed after a quarter of all payments."""


@asynccontextmanager
async def two_workers(url: str) -> AsyncIterator[httpx.AsyncClient]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "tests.crash.http_worker:web", "--workers", "2", "--port", str(port)]
    environment = os.environ | {"FAIT_STORE": url, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    process = await asyncio.create_subprocess_exec(*command, "--log-level", "critical", env=environment, cwd=ROOT)
    # Without keepalive, so that both workers get requests of each client.
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=10) as client:
            yield client
    finally:
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        await process.wait()


async def processes(client: httpx.AsyncClient) -> set[int]:
    """Return the ids of both workers, once they serve requests."""
    found = set[int]()
    deadline = time.monotonic() + 30
    while len(found) < 2:
        assert time.monotonic() < deadline, "two workers have not started"
        try:
            found.add((await client.get("/process")).json())
        except httpx.TransportError:
            await asyncio.sleep(0.05)
    return found


class Customer:
    """Pays into an account and reads it, with retries, as a careful client does."""

    def __init__(self, client: httpx.AsyncClient, account: str) -> None:
        self.client = client
        self.account = account
        self.paid = 0
        self.answers = Counter[str]()
        self.wrong: list[str] = []

    async def run(self) -> None:
        await self.request("PUT", f"/accounts/{self.account}?owner=ada", {"Idempotency-Key": fait.new_id()})
        while self.paid < PAYMENTS:
            headers = {"Idempotency-Key": fait.new_id()}
            written = await self.request("POST", f"/accounts/{self.account}/payments?amount=1", headers)
            self.paid += 1
            position = {"Fait-Position": written.headers["Fait-Position"]}
            read = await self.request("GET", f"/accounts/{self.account}", position)
            expected = (200, written.headers["ETag"], str(self.paid))
            if (read.status_code, read.headers.get("ETag"), read.json().get("balance")) != expected:
                self.wrong.append(f"{expected}: {read.status_code} {read.text}")

    async def request(self, method: str, url: str, headers: dict[str, str]) -> httpx.Response:
        """Repeat a request until it has an answer that is not "try again"."""
        while True:
            try:
                answer = await self.client.request(method, url, headers=headers)
            except httpx.TransportError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if "Retry-After" not in answer.headers:
                    return answer
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
async def test_killed_worker_causes_no_wrong_read_and_no_lost_or_repeated_write(
    backend: str, store_url: Callable[[str], str]
) -> None:
    async with two_workers(store_url(backend)) as client:
        killed = (await processes(client)).pop()
        customers = [Customer(client, str(number)) for number in range(CLIENTS)]
        running = [asyncio.create_task(each.run()) for each in customers]
        await until(lambda: sum(each.paid for each in customers) >= CLIENTS * PAYMENTS / 4)
        os.kill(killed, signal.SIGKILL)
        await asyncio.gather(*running)
        answers = sum((each.answers for each in customers), Counter[str]())
        events = [len((await client.get(f"/metadata/{each.account}")).json()) for each in customers]

        assert [each.wrong for each in customers] == [[]] * CLIENTS
        assert events == [PAYMENTS + 1] * CLIENTS
        assert answers.keys() <= {"200", "201", "503", "ConnectError", "ReadError", "RemoteProtocolError"}, answers
        assert (await client.get("/process")).status_code == 200
