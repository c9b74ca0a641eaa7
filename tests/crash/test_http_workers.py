"""Two uvicorn workers on one store: no read is wrong, and no payment is lost or made twice.

One of them is killed, or both get the same request under one idempotency key at the same time.
"""

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


RACES = 6
CALLERS = 6
"""Number of requests that are sent at the same time under one idempotency key."""

REPEATED_HEADERS = ("ETag", "Fait-Position", "Location")


async def race(client: httpx.AsyncClient, method: str, url: str) -> tuple[list[httpx.Response], Counter[str]]:
    """Send one request several times at once under one key, and repeat each that is told to come back."""
    headers = {"Idempotency-Key": fait.new_id()}
    callers = [Customer(client, "") for _ in range(CALLERS)]
    answers = await asyncio.gather(*(each.request(method, url, headers) for each in callers))
    return answers, sum((each.answers for each in callers), Counter[str]())


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
async def test_concurrent_requests_with_one_key_in_two_processes_have_one_effect_and_one_answer(
    backend: str, store_url: Callable[[str], str]
) -> None:
    async with two_workers(store_url(backend)) as client:
        await processes(client)
        seen, effects = Counter[str](), dict[str, int]()
        for number in range(RACES):
            account = f"/accounts/race-{number}"
            await client.put(f"{account}?owner=ada")
            for method, url in (
                ("POST", "/accounts?owner=ada"),  # a new stream, whose id is that of the key
                ("POST", f"{account}/payments?amount=5"),  # nothing but the key makes the second one a repetition
                ("POST", f"{account}/transfers?to=race-to-{number}"),  # two commands
            ):
                answers, statuses = await race(client, method, url)
                seen += statuses
                first = answers[0]
                same = [(each.status_code, each.content) for each in answers]
                assert same == [(first.status_code, first.content)] * CALLERS
                for name in REPEATED_HEADERS:
                    assert {each.headers.get(name) for each in answers} == {first.headers.get(name)}
                assert sum("Idempotency-Replayed" not in each.headers for each in answers) <= 1
                if url.startswith("/accounts?"):
                    effects[first.json()["account_id"]] = 1
            effects |= {f"race-{number}": 3, f"race-to-{number}": 1}
        events = {account: len((await client.get(f"/metadata/{account}")).json()) for account in effects}

    assert events == effects
    assert seen.keys() <= {"200", "201", "409"}, seen
