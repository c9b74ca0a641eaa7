"""Measures `POST /orders` through uvicorn with 64 clients: fait next to the same endpoint with plain SQLAlchemy.

`make bench-http` takes a minute; options are passed as in `make bench-http ARGS="--n 3000 --rounds 5"`.

One uvicorn process serves one of the applications in `web_servers.py`; this process has the clients, which speak
HTTP/1.1 over kept connections and wait for each answer. Both share the cores. To show where the time goes, it also
measures the endpoint without a store, and the command without HTTP. Ratios compare measurements of one round; the table
has their medians. Afterwards it counts what the stores contain.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from machine import machine, versions
from measure import CALLERS, check, percentile

import fait
from tests.servers.postgres import PostgresServer

__all__ = ["main"]

BENCH = Path(__file__).parent
SETTINGS = {"fsync": "on", "shared_buffers": "256MB"}
LINES = [{"sku": "tea", "quantity": 2, "price": "4.50"}, {"sku": "cup", "quantity": 1, "price": "9.00"}]


def request_bytes() -> bytes:
    body = json.dumps(LINES).encode()
    head = ["POST /orders?customer=ada HTTP/1.1", "Host: x", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


@asynccontextmanager
async def serve(application: str, environment: dict[str, str]) -> AsyncGenerator[int]:
    """Serve an application of `web_servers.py` in a process of its own, and yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", f"web_servers:{application}", "--port", str(port), "--log-level", "critical",
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join([str(BENCH), *sys.path])},
    )  # fmt: skip
    try:
        for _ in range(3000):
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def load(port: int, count: int) -> tuple[float, list[float]]:
    """Send requests from all clients; return the duration and the latency of each, in seconds."""
    remaining, latencies, payload = iter(range(count)), list[float](), request_bytes()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in remaining:
            start = time.perf_counter()
            writer.write(payload)
            head = await reader.readuntil(b"\r\n\r\n")
            check("status", head[9:12], b"201")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - start)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CALLERS)))
    return time.perf_counter() - start, latencies


async def over_http(application: str, environment: dict[str, str], count: int) -> dict[str, float]:
    async with serve(application, environment) as port:
        await load(port, max(CALLERS, count // 10))  # warm up
        seconds, latencies = await load(port, count)
    return {"requests_s": count / seconds, "p50_ms": percentile(latencies, 0.5) / 1000,
            "p99_ms": percentile(latencies, 0.99) / 1000}  # fmt: skip


async def without_http(url: str, count: int) -> dict[str, float]:
    """Run the command of the endpoint in this process, by as many tasks as there are clients."""
    os.environ["FAIT_STORE"] = url
    from decimal import Decimal

    from web_servers import Line, Order, app

    lines = [Line(str(each["sku"]), int(str(each["quantity"])), Decimal(str(each["price"]))) for each in LINES]
    async with app.open(url) as system:

        async def run(number: int) -> None:
            remaining = iter(range(number))

            async def caller() -> None:
                for _ in remaining:
                    await system.transact(Order.place, fait.new_id(), "ada", lines)

            await asyncio.gather(*(caller() for _ in range(CALLERS)))

        await run(max(CALLERS, count // 10))
        start = time.perf_counter()
        await run(count)
        return {"requests_s": count / (time.perf_counter() - start)}


async def stored_orders(url: str) -> int:
    from web_servers import app

    async with app.open(url, run="elsewhere") as system:
        return len([each async for each in system.events()])


async def measure_store(name: str, fait_url: str, sqlalchemy_url: str, count: int) -> dict[str, Any]:
    """Measure one round on one store."""
    fait_environment = {"FAIT_STORE": fait_url}
    result = {
        "fait": await over_http("fait_api", fait_environment, count),
        "SQLAlchemy": await over_http("sqlalchemy_api", {"SQLALCHEMY_URL": sqlalchemy_url}, count),
        "no store": await over_http("empty_api", {}, count),
    }
    check(f"orders stored on {name}", await stored_orders(fait_url), count + max(CALLERS, count // 10))
    return result | {"no HTTP": await without_http(fait_url, count)}


async def measure(rounds: int, count: int) -> list[dict[str, Any]]:
    rows = list[dict[str, Any]]()
    with PostgresServer(18, SETTINGS) as server, tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            sqlite, schema = Path(folder) / f"{number}", f"bench_{uuid4().hex}"
            plain = server.url.replace("postgresql://", "postgresql+asyncpg://")
            for name, fait_url, sqlalchemy_url in (
                ("SQLite", f"sqlite:///{sqlite}.fait.db", f"sqlite+aiosqlite:///{sqlite}.sqlalchemy.db"),
                ("PostgreSQL", f"{server.url}?schema={schema}", plain),
            ):
                measured = await measure_store(name, fait_url, sqlalchemy_url, count)
                rows += [{"round": number, "store": name, "program": key} | value for key, value in measured.items()]
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the medians as Markdown; the ratio is that of each round to SQLAlchemy."""
    lines = ["| store | program | requests/s | to SQLAlchemy | p50 ms | p99 ms |", "|---|---|--:|--:|--:|--:|"]
    for store in ("SQLite", "PostgreSQL"):
        base = {
            row["round"]: row["requests_s"] for row in rows if (row["store"], row["program"]) == (store, "SQLAlchemy")
        }
        for program in ("fait", "SQLAlchemy", "no store", "no HTTP"):
            own = [row for row in rows if (row["store"], row["program"]) == (store, program)]
            ratio = statistics.median(row["requests_s"] / base[row["round"]] for row in own)
            latency = [
                f"{statistics.median(row[key] for row in own):.1f}" if key in own[0] else "–"
                for key in ("p50_ms", "p99_ms")
            ]
            rate = statistics.median(row["requests_s"] for row in own)
            lines.append(f"| {store} | {program} | {rate:,.0f} | {ratio:.2f} × | {' | '.join(latency)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3000, help="requests in each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=BENCH / "results")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.rounds, arguments.n))
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine(arguments.out), "versions": versions(), "clients": CALLERS, "rows": rows}
    (arguments.out / "web.json").write_text(json.dumps(result, indent=1), "utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
