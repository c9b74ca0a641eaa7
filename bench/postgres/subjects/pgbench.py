"""pgbench, PostgreSQL's benchmark program in C: one prepared INSERT per transaction."""

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path

from measure import CALLERS, Outcome, outcome
from order import order
from postgres.subjects.raw import prepare, table

__all__ = ["WORKLOADS", "table"]

SCRIPT = """\\set number random(1, 9000000000000000)
INSERT INTO events (stream, version, type, data)
VALUES ('order-' || :number::text || '-' || :client_id::text, 1, 'bench.order-placed', convert_to(:data, 'UTF8'));
"""


def w1(url: str, n: int) -> Outcome:
    return _measured(url, n, clients=1)


def w2(url: str, n: int) -> Outcome:
    return _measured(url, n, clients=CALLERS)


def _measured(url: str, n: int, clients: int) -> Outcome:
    asyncio.run(prepare(url))
    each = max(1, n // clients)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "append.sql")
        script.write_text(SCRIPT, "utf-8")
        _run(url, script, clients, max(1, each // 10))
        said = _run(url, script, clients, each, "--log", f"--log-prefix={folder}/log")
        lines = [line for log in Path(folder).glob("log.*") for line in log.read_text().splitlines()]
    tps = float(next(line for line in said.splitlines() if line.startswith("tps = ")).split()[2])
    latencies = [int(line.split()[2]) / 1e6 for line in lines]
    done = each * clients
    return outcome(done, done / tps, latencies, stored=done + max(1, each // 10) * clients)


def _run(url: str, script: Path, clients: int, transactions: int, *more: str) -> str:
    program = os.environ.get("BENCH_PGBENCH", "")
    if not Path(program).exists():
        raise ModuleNotFoundError("the program pgbench is not installed")
    data = json.dumps(order(0), separators=(",", ":"))
    return subprocess.run(
        [
            program, url, "--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={min(2, clients)}",
            f"--transactions={transactions}", f"--file={script}", f"--define=data={data}", *more,
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout  # fmt: skip


WORKLOADS = {"W1": w1, "W2": w2}
