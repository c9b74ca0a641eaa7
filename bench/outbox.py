"""Measures the cost of the outbox: a change alone, with a row in a plain outbox table, with fait, and with a peer.

`make bench-outbox` takes some minutes; options are passed as in `make bench-outbox ARGS="--rounds 9 --n 1000"`.

It starts a PostgreSQL server with fsync, and measures through the libraries that the outbox has adapters for. The speed
of machines drifts, so the ways of writing alternate, transaction by transaction, in a new process and database for each
round and library; ratios are taken within a round. Writes outbox.json and prints the table of docs/outbox/overhead.md.

    -m outbox --child LIBRARY N URL [LOG]      one round of one library: URL of an empty database, LOG of its server
"""

import argparse
import asyncio
import json
import os
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psycopg
from machine import machine, versions
from measure import check, percentile
from order import order
from outbox_ways import LIBRARIES, POSTGRES, SQLITE, WAYS, ChangeAndEvent, Ways
from subjects.fait_system import Item, OrderPlaced

from fait._store.open import open_admin
from tests.servers.postgres import PostgresServer

__all__ = ["main", "markdown"]

BENCH = Path(__file__).parent
SETTINGS = {
    "fsync": "on",
    "autovacuum": "off",  # its writes would be counted
    "checkpoint_timeout": "1h",  # full pages after a checkpoint would be counted
    "max_wal_size": "8GB",
    "shared_buffers": "256MB",
    "log_min_messages": "log",
}
PACKAGES = ("asyncpg", "psycopg", "SQLAlchemy", "Django", "faststream-outbox")
WARM_UP = 100  # until every table has its first pages: a new free space map is written as a full page
PREPARED, COUNTED = 10, 10
ENTRY = re.compile(rb"LOG:  (statement|execute [^:]+):")
LIVE_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
STORED = {name: f"SELECT count(*) FROM {name}" for name in ("orders", "outbox", "fait_events")}  # noqa: S608
Found = dict[str, Any]


class ServerGauge:
    """Counters of a PostgreSQL server, read on a separate connection.

    Args:
        url: URL of the database.
        log: Path of the server's log.
    """

    def __init__(self, url: str, log: str) -> None:
        self._url, self._log = url, Path(log)
        self._connection = psycopg.connect(url, autocommit=True)
        before = self.notified()
        with psycopg.connect(url) as connection:
            connection.execute("SELECT pg_notify('bench', '')")
        check("increase of the counter after one NOTIFY", self.notified() - before, 1)

    def wal(self) -> int:
        """Return the bytes of write-ahead log since the server was created."""
        return int(self._ask("SELECT pg_current_wal_insert_lsn() - '0/0'"))

    def listen(self, ways: Ways) -> None:
        """Log the statements of connections that are opened from now on."""
        with psycopg.connect(self._url) as connection:
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET log_statement = 'all'")

    def statements(self) -> int:
        """Return the number of logged statements."""
        return len(ENTRY.findall(self._log.read_bytes()))

    def notified(self) -> int:
        """Return the number of transactions with a NOTIFY: each accesses a page of the server's queue.

        A connection reports its statistics when it is closed, so this waits until no other connection is open.
        """
        while self._ask(LIVE_OTHERS):
            time.sleep(0.01)
        return self._ask("SELECT blks_hit + blks_read + blks_zeroed FROM pg_stat_slru WHERE name = 'notify'")

    def stored(self) -> dict[str, int]:
        """Return the number of rows by table."""
        return {name: self._ask(sql) for name, sql in STORED.items()}

    def _ask(self, sql: str) -> Any:
        row = self._connection.execute(sql).fetchone()
        assert row is not None
        return row[0]


class FileGauge:
    """The same counters of an SQLite file, without WAL checkpoints and notifications."""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///")
        self._statements: list[str] = []

    def wal(self) -> int:
        return Path(f"{self._path}-wal").stat().st_size

    def listen(self, ways: Any) -> None:
        ways.connection.set_trace_callback(self._statements.append)

    def statements(self) -> int:
        return len(self._statements)

    def notified(self) -> int:
        return 0

    def stored(self) -> dict[str, int]:
        with sqlite3.connect(self._path) as connection:
            return {name: connection.execute(sql).fetchone()[0] for name, sql in STORED.items()}


def round_of(library: str, n: int, url: str, log: str) -> Found:
    """Run one round of one library on a new database."""
    warnings.filterwarnings("ignore", "SQLite 3")  # an old version; no WAL checkpoint happens here
    asyncio.run(open_admin(url).migrate())
    _create_tables(url)
    measured = _measured(
        LIBRARIES[library], n, url, FileGauge(url) if url.startswith("sqlite") else ServerGauge(url, log)
    )
    if LIBRARIES[library].waits:
        return asyncio.run(measured)
    try:  # the coroutine never suspends; Django rejects synchronous calls in a running event loop
        measured.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the coroutine of a synchronous library was suspended")


def _create_tables(url: str) -> None:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            file.executescript(SQLITE)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(POSTGRES)


async def _measured(kind: type[Ways], n: int, url: str, gauge: Any) -> Found:
    opened, missing = dict[str, Ways](), list[str]()
    for way in WAYS:
        if hasattr(kind, way):
            try:
                opened[way] = await _opened(kind, way, url)
            except ModuleNotFoundError as problem:
                missing.append(str(problem.name))
    found = {way: list[tuple[float, float, int]]() for way in opened}
    rng, warm_up = random.Random(1), min(WARM_UP, n)
    for number in range(warm_up + n):
        for way in rng.sample(list(opened), len(opened)):
            found[way].append(await _timed(opened[way], way, _made(way, number), gauge))
    for ways in opened.values():
        await _finished(ways.close())
    rows = {way: _summed(samples[warm_up:]) for way, samples in found.items()}
    for way in opened:
        rows[way] |= await _counted(kind, way, url, gauge, warm_up + n)
    written = warm_up + n + PREPARED + COUNTED
    events = sum(way in ("add", "block") for way in opened)
    check("rows", gauge.stored(), {"orders": written * len(opened), "outbox": written, "fait_events": written * events})
    return {"ways": rows, "missing": missing}


async def _opened(kind: type[Ways], way: str, url: str) -> Ways:
    ways = kind()
    await _finished(ways.open(url))
    await _finished(ways.prepare(way))
    return ways


async def _timed(ways: Ways, way: str, made: ChangeAndEvent, gauge: Any) -> tuple[float, float, int]:
    """Return seconds, CPU seconds of this process, and bytes of write-ahead log."""
    write = getattr(ways, way)
    wal, cpu, started = gauge.wal(), time.process_time(), time.perf_counter()
    waiting = write(made)
    if waiting is not None:
        await waiting
    ended = time.perf_counter()
    return ended - started, time.process_time() - cpu, gauge.wal() - wal


async def _counted(kind: type[Ways], way: str, url: str, gauge: Any, first: int) -> Found:
    """Return the statements per event, including BEGIN and COMMIT, and the notifications per transaction."""
    notified = gauge.notified()
    if isinstance(gauge, ServerGauge):
        gauge.listen(kind())
    ways = await _opened(kind, way, url)
    if isinstance(gauge, FileGauge):
        gauge.listen(ways)
    for number in range(PREPARED):
        await _finished(getattr(ways, way)(_made(way, first + number)))
    before = gauge.statements()
    for number in range(PREPARED, PREPARED + COUNTED):
        await _finished(getattr(ways, way)(_made(way, first + number)))
    counted = (gauge.statements() - before) / COUNTED
    await _finished(ways.close())
    return {"statements": counted, "notifies": (gauge.notified() - notified) / (PREPARED + COUNTED)}


async def _finished(waiting: Any) -> None:
    if waiting is not None:
        await waiting


def _made(way: str, number: int) -> ChangeAndEvent:
    fields = order(number)
    event = OrderPlaced(**{**fields, "items": [Item(**item) for item in fields["items"]]})
    return ChangeAndEvent(f"order-{number:08d}-{way}", event)  # ascending in every way


def _summed(samples: Sequence[tuple[float, float, int]]) -> Found:
    """Return the microseconds of a transaction, and the means of the counters."""
    seconds = [took for took, _, _ in samples]
    return {
        "p50_us": percentile(seconds, 0.50),
        "p99_us": percentile(seconds, 0.99),
        "cpu_us": round(statistics.fmean(cpu for _, cpu, _ in samples) * 1e6, 1),
        "wal_bytes": round(statistics.fmean(wal for _, _, wal in samples)),
    }


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [name for name in LIBRARIES if not options.only or name in options.only.split(",")]
    rounds: dict[str, list[Found]] = {library: [] for library in chosen}
    missing = set[str]()
    began = os.getloadavg()[0]
    with PostgresServer(18, SETTINGS) as server, tempfile.TemporaryDirectory(prefix="fait-bench-") as folder:
        for number in range(options.rounds):
            for library in chosen:
                done = _child(library, options.n, server, Path(folder) / f"{number}.db", number)
                rounds[library].append(done["ways"])
                missing |= set(done["missing"])
        where = machine(server.data)
    for name in sorted(missing):
        print(f"NOT MEASURED: {name} is not installed", file=sys.stderr)
    about = {"date": datetime.now(UTC).date().isoformat(), "machine": where, "versions": _versions()}
    about |= {
        "load": [round(began, 1), round(os.getloadavg()[0], 1)],
        "n": options.n,
        "rounds": options.rounds,
        "settings": SETTINGS,
    }
    result = about | {"rows": [row for library in chosen for row in _rows(library, rounds[library])]}
    (options.out / "outbox.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(markdown(result))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", metavar="asyncpg,Django", help=f"libraries to measure: {', '.join(LIBRARIES)}"
    )
    parser.add_argument("--n", type=int, default=200, metavar="N", help="events per way and round (default: 200)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="number of rounds (default: 5)")
    parser.add_argument("--out", type=Path, default=BENCH / "results", metavar="DIR", help="folder for the result")
    return parser.parse_args()


def _child(library: str, n: int, server: PostgresServer, file: Path, number: int) -> Found:
    if library == "sqlite3":
        arguments = [f"sqlite:///{file}"]
    else:
        name = f"bench_{list(LIBRARIES).index(library)}_{number}"
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        arguments = [server.url.rpartition("/")[0] + f"/{name}", str(server.log)]
    command = [sys.executable, "-m", "outbox", "--child", library, str(n), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    return json.loads(done.stdout)


def _rows(library: str, rounds: Sequence[Found]) -> list[Found]:
    """Return a row for each way: medians of the rounds, and medians of the ratios to a plain table within a round."""
    rows = list[Found]()
    for way in rounds[0]:
        own = [each[way] for each in rounds]
        row: Found = {"library": library, "way": way}
        row |= {name: round(statistics.median(each[name] for each in own), 1) for name in own[0]}
        for name in ("p50_us", "cpu_us", "wal_bytes"):
            ratios = [each[way][name] / each["table"][name] for each in rounds]
            row[f"{name}_ratio"] = round(statistics.median(ratios), 3)
            row[f"{name}_ratios"] = [round(ratio, 3) for ratio in ratios]
        rows.append(row)
    return rows


def _versions() -> dict[str, str]:
    found = versions() | {"postgresql": "18"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def markdown(result: Found) -> str:
    """Format the result as in docs/outbox/overhead.md."""
    where, with_ = result["machine"], result["versions"]
    box = f"{where['processor']}, {where['cores']} cores, {where['memory_gb']} GB, {where['file_system']}"
    shown = ("python", "postgresql", "sqlite (sqlite3)", "fait", *PACKAGES)
    load = f"load {result['load'][0]} before the run, {result['load'][1]} at its end"
    heads = ("library", "in addition to the change", "p50 µs", "ratio", "own CPU µs", "ratio", "WAL bytes", "ratio")
    lines = [
        f"Measured on {result['date']}: {box}; {load}. {result['rounds']} rounds of {result['n']} events.",
        "",
        ", ".join(f"{name} {with_[name]}" for name in shown) + ".",
        "",
        f"| {' | '.join((*heads, 'statements', 'NOTIFY'))} |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    before = ""
    for row in result["rows"]:
        library, before = row["library"] if row["library"] != before else "", row["library"]
        what = WAYS[row["way"]] if row["way"] != "alone" else "nothing"
        figures = [
            part
            for name in ("p50_us", "cpu_us", "wal_bytes")
            for part in (f"{row[name]:,.0f}", f"{row[f'{name}_ratio']:.2f}")
        ]
        notify = "in each" if row["notifies"] >= 1 else "in some" if row["notifies"] else "none"
        cells = [library, what, *figures, f"{row['statements']:g}", "–" if row["library"] == "sqlite3" else notify]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(round_of(sys.argv[2], int(sys.argv[3]), sys.argv[4], "".join(sys.argv[5:6]))))
    else:
        sys.exit(main())
