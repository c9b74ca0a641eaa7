"""Measures fait on PostgreSQL next to its peers and next to bare drivers, in one run on one machine.

`make bench-postgres` takes half an hour; options are passed as in `make bench-postgres ARGS="--only W1,W2 --rounds 5
--latency 0"`. `--only stalls` measures the stalls, and `--growth` how cost grows with the log.

It starts a PostgreSQL server with fsync. The speed of machines drifts, so only ratios are meaningful: every subject
runs every workload in turn, several times, each time in a new process on a new database. Ratios are taken within a
round.
Workloads that are sensitive to round trips also run through a network with a latency of 1 ms. Writes postgres.json and
postgres.svg; `bench/postgres/report.py` publishes them. Ctrl-C ends the run with the complete rounds; servers and data
are always removed.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from goals import Workload
from machine import machine
from measure import WrongResult, check
from postgres import growth, report, stalls
from postgres.child import NOT_INSTALLED
from postgres.crowd import child
from postgres.goals import FAR, OURS, SUBJECTS, WORKLOADS
from postgres.probe import probe
from postgres.servers import Servers, events_in
from postgres.subjects import emmett_node

__all__ = ["main"]

BENCH = Path(__file__).parents[1]
GROWTH_SIZES = "100_000,1_000_000,10_000_000"
PROBED = ("fait", "eventsourcing", "eventsourcing-functions", "umadb", "emmett", "asyncpg")
PROBE_APPENDS = 3200
PACKAGES = ("fait", "msgspec", "asyncpg", "psycopg", "uvloop", "eventsourcing", "umadb")
LEAST = 64
SHARE_WITH_LATENCY = 0.2
"""Share of the operations through a slow network, which many peers cross several times per event."""

TIMEOUT_S = 600
PROPERTIES = ("probe", "stalls")
FAILURES = (WrongResult, subprocess.SubprocessError, TimeoutError, OSError, ValueError)
"""Failures of the started programs and of their output."""

Found = dict[str, Any]
Samples = dict[tuple[float, str, str], list[Found]]
"""The results of all rounds, by latency, workload and subject."""


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="fait-bench-", dir=options.data))
    work.chmod(0o755)  # a server may run as another user
    try:
        result = Run(options, work).result()
    except KeyboardInterrupt:
        print("stopped before the first round was complete; no result was written", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)
    (options.out / "postgres.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    (options.out / "postgres.svg").write_text(report.chart_of(result), "utf-8")
    print(report.text(result))
    return 1 if report.wrong(result) or result["unfinished"] else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="W1,W5,probe", help="workloads to run; also: probe, stalls")
    parser.add_argument(
        "--subjects", default="", metavar="fait,asyncpg", help=f"subjects to run: {', '.join(SUBJECTS)}"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="number of rounds (default: 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="factor for all numbers of operations (default: 1)"
    )
    parser.add_argument(
        "--latency", default="0,1", metavar="MS", help="round-trip latencies of the network (default: 0,1)"
    )
    parser.add_argument("--out", type=Path, default=BENCH / "results", metavar="DIR", help="folder for results")
    parser.add_argument(
        "--data", type=Path, default=None, metavar="DIR", help="folder for the data of the servers, on a disk"
    )
    parser.add_argument(
        "--growth", nargs="?", const=GROWTH_SIZES, metavar="SIZES",
        help=f"also measure logs of these sizes (default: {GROWTH_SIZES}; takes a quarter of an hour and 1.5 kB "
        "of disk per event)",
    )  # fmt: skip
    options = parser.parse_args()
    known = {*PROPERTIES, *(key for each in WORKLOADS for key in (each.key, each.key.partition("-")[0]))}
    for given, names in ((options.only, known), (options.subjects, {*SUBJECTS})):
        if unknown := {each for each in given.split(",") if each} - names:
            parser.error(f"unknown: {', '.join(sorted(unknown))}. Choose from: {', '.join(sorted(names))}")
    return options


class Run:
    """A run of the benchmark.

    Attributes:
        missing: Reasons why subjects are left out.
        failed: Reasons why workloads have no figure, by latency, workload and subject.
        unfinished: Parts of the run that were not completed, with reasons.
    """

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.missing = dict[str, str]()
        self.failed = dict[tuple[float, str, str], str]()
        self.unfinished = list[str]()
        self._options = options
        self._work = work
        self._latencies = [float(each) for each in options.latency.split(",")]
        self._only = [each for each in options.only.split(",") if each]
        self._subjects = [each for each in options.subjects.split(",") if each] or list(SUBJECTS)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(BENCH), str(BENCH.parent)])
        where = machine(work)
        if where["file_system"] in ("tmpfs", "ramfs"):
            raise SystemExit(
                "the data folder is in memory, where fsync has no effect. Name a folder on a disk with --data DIR."
            )
        self._machine = where

    def result(self) -> dict[str, Any]:
        self._install_emmett()
        with Servers(self._work, self._latencies) as servers:
            self._servers = servers
            os.environ["BENCH_PGBENCH"] = servers.pgbench
            result: dict[str, Any] = {
                "date": datetime.now(UTC).date().isoformat(),
                "backend": "postgres",
                "machine": self._machine,
                "versions": _versions(servers.version),
                "settings": servers.settings,
                "round_trip_us": {f"{each:g}": us for each, us in servers.round_trip_us.items()},
                "scale": self._options.scale,
            }
            result["lost_events"] = self._probes()
            chosen = [each for each in WORKLOADS if self._wanted(each.key)]
            samples = self._rounds(chosen)
            result["rows"] = [
                row for latency in self._latencies for each in chosen for row in _rows(each, latency, samples)
            ]
            result["stalls"] = self._part("stalls", self._stalls, {}) if self._wanted("stalls") else {}
            result["growth"] = self._part("growth", self._growth, []) if self._options.growth else []
        result["left_out"] = self.missing
        result["failed"] = [
            {"latency_ms": latency, "workload": workload, "subject": subject, "why": why}
            for (latency, workload, subject), why in self.failed.items()
        ]
        result["unfinished"] = self.unfinished
        result["goals"] = report.judged(result)
        return result

    def _wanted(self, key: str) -> bool:
        return not self._only or any(key == each or key.startswith(f"{each}-") for each in self._only)

    def _install_emmett(self) -> None:
        used = self._wanted("probe") or any(self._wanted(each.key) for each in WORKLOADS)
        if "emmett" not in self._subjects or not used:
            return
        _say("npm install (Emmett)")
        folder = BENCH / "results" / "node"
        if why := emmett_node.install(folder):
            self._leave_out("emmett", why)
        else:
            os.environ["BENCH_NODE_MODULES"] = str(folder)

    def _leave_out(self, subject: str, why: str) -> None:
        if subject not in self.missing:
            print(f"LEFT OUT: {SUBJECTS[subject].title}: {why}", file=sys.stderr, flush=True)
        self.missing[subject] = why

    def _probes(self) -> dict[str, Found]:
        """Run the probe for each subject. It must find no error of fait."""
        found = dict[str, Found]()
        appends = max(LEAST, int(PROBE_APPENDS * min(1.0, self._options.scale)))
        for subject in PROBED if self._wanted("probe") else PROBED[:1]:
            if subject not in self._subjects or subject in self.missing:
                continue
            _say(f"lost events: {SUBJECTS[subject].title}")
            try:
                with limited(TIMEOUT_S), self._servers.place(subject, self._latencies[0]) as (url, direct):
                    found[subject] = probe(subject, appends, url, direct)
            except ModuleNotFoundError as missing:
                self._leave_out(subject, str(missing))
            except FAILURES as wrong:
                if subject in OURS:
                    raise SystemExit(f"the probe of {subject} failed: {wrong}") from wrong
                self._without_figure((self._latencies[0], "lost-events probe", subject), str(wrong))
        return found

    def _rounds(self, chosen: list[Workload]) -> Samples:
        """Run all rounds; after an interrupt, return the complete ones."""
        samples: Samples = {}
        started = time.monotonic()
        for turn in range(self._options.rounds):
            try:
                for workload in chosen:
                    self._turn(workload, turn, samples)
            except KeyboardInterrupt:
                if not turn:
                    raise
                self.unfinished.append(f"stopped in round {turn + 1} of {self._options.rounds}")
                samples = {what: found[:turn] for what, found in samples.items()}
                break
            _say(f"round {turn + 1} ended after {(time.monotonic() - started) / 60:.1f} minutes")
        return {what: found for what, found in samples.items() if found and what not in self.failed}

    def _turn(self, workload: Workload, turn: int, samples: Samples) -> None:
        """Run a workload with all subjects, each time in another order."""
        names = [each for each in workload.sizes if each in self._subjects]
        for subject in names[turn % len(names) :] + names[: turn % len(names)] if names else ():
            for latency in self._latencies:
                what, size = (latency, workload.key, subject), workload.sizes[subject]
                if subject in self.missing or what in self.failed or (latency and workload.key not in FAR):
                    continue
                share = SHARE_WITH_LATENCY if latency else 1.0
                n = max(min(LEAST, size), int(size * self._options.scale * share))
                title = f"{workload.key} {SUBJECTS[subject].title}"
                _say(f"round {turn + 1} of {self._options.rounds}: {title}, {latency:g} ms")
                samples.setdefault(what, []).extend(self._tried(what, n))

    def _tried(self, what: tuple[float, str, str], n: int) -> list[Found]:
        """Run a workload once. A failure of fait ends the benchmark; that of another subject costs only its figure."""
        _, workload, subject = what
        try:
            return [self._child(subject, workload, n, what[0])]
        except ModuleNotFoundError as missing:
            self._leave_out(subject, str(missing))
        except FAILURES as wrong:
            if subject in OURS:
                raise SystemExit(f"{workload} of {subject} failed: {wrong}") from wrong
            self._without_figure(what, str(wrong))
        return []

    def _without_figure(self, what: tuple[float, str, str], why: str) -> None:
        self.failed[what] = why
        print(f"NO FIGURE: {what[1]} of {SUBJECTS[what[2]].title}: {why}", file=sys.stderr, flush=True)

    def _child(self, subject: str, workload: str, n: int, latency: float) -> Found:
        """Run and verify a workload in a new process on a new database."""
        with self._servers.place(subject, latency) as (url, direct):
            done = subprocess.run(
                child(subject, workload, n, url), capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
                env={**os.environ, "BENCH_SUBJECT": subject},
            )  # fmt: skip
            if done.returncode == NOT_INSTALLED:
                raise ModuleNotFoundError(done.stderr.strip())
            if done.returncode:
                raise WrongResult(f"exit code {done.returncode}:\n{done.stderr.strip()}")
            found: Found = json.loads(done.stdout.splitlines()[-1])
            check("stored events", events_in(direct, found["table"]), found["stored"])
            if workload.startswith("W7"):
                check("events in the read model", _in_view(direct), found["n"])
            return found

    def _part(self, name: str, measure: Callable[[], Any], nothing: Any) -> Any:
        """Measure a part in addition to the workloads; a failure or an interrupt does not affect the other results."""
        if self.unfinished:
            return nothing
        try:
            return measure()
        except KeyboardInterrupt:
            self.unfinished.append(f"{name}: stopped")
        except FAILURES as wrong:
            self.unfinished.append(f"{name}: {wrong}")
            print(f"NOT FINISHED: {name}: {wrong}", file=sys.stderr, flush=True)
        return nothing

    def _stalls(self) -> Found:
        return stalls.stalls(self._servers, self._options.scale, self._options.rounds)

    def _growth(self) -> list[Found]:
        sizes = [int(each) for each in self._options.growth.split(",")]
        needed, free = sum(sizes) * growth.BYTES_PER_EVENT, shutil.disk_usage(self._work).free
        if free < needed:
            raise WrongResult(
                f"not enough disk space: {sum(sizes):,} events need {needed >> 20:,} MiB, and {free >> 20:,} MiB are "
                "free. Name another folder with --data DIR."
            )
        return growth.growth(self._servers, sizes, self._options.rounds)


@contextmanager
def limited(seconds: int) -> Generator[None]:
    """Raise TimeoutError in the main thread if the block takes longer."""

    def end(*_: object) -> None:
        raise TimeoutError(f"timeout after {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _in_view(url: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection:
        [(found,)] = connection.execute("SELECT sum(n) FROM order_view").fetchall()
        return int(found)


def _rows(workload: Workload, latency: float, samples: Samples) -> list[Found]:
    """Return a row for each subject: medians, and medians of the ratios of fait to it within a round."""
    rows = list[Found]()
    for subject in workload.sizes:
        theirs = samples.get((latency, workload.key, subject), [])
        if not theirs:
            continue
        row: Found = {
            "backend": "postgres", "latency_ms": latency, "workload": workload.key, "subject": subject,
            "unit": workload.unit,
        }  # fmt: skip
        for figure in ("ops_s", "p50_us", "p99_us"):
            known = theirs[0][figure] is not None
            row[figure] = round(statistics.median(each[figure] for each in theirs), 1) if known else None
        row["ratios"] = {
            ours: _ratios(samples.get((latency, workload.key, ours), []), theirs) for ours in OURS if ours != subject
        }
        rows.append({**row, "n": theirs[0]["n"], "rounds": len(theirs)})
    return rows


def _ratios(ours: list[Found], theirs: list[Found]) -> dict[str, float]:
    """Return the ratios of the figures that both have."""
    found = dict[str, float]()
    for figure in ("ops_s", "p50_us", "p99_us"):
        if ours and ours[0][figure] is not None and theirs[0][figure] is not None:
            ratios = [one[figure] / other[figure] for one, other in zip(ours, theirs, strict=True)]
            found[figure] = round(statistics.median(ratios), 3)
    return found


def _versions(server: str) -> dict[str, str]:
    import platform

    found = {"python": platform.python_version(), "postgresql": server}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    packages = json.loads((BENCH / "postgres" / "emmett" / "package.json").read_text("utf-8"))["dependencies"]
    found["emmett"] = packages["@event-driven-io/emmett-postgresql"]
    return found


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
