"""Measures fait on SQLite next to a peer and next to the bare database, in one run on one machine.

`make bench` takes some minutes; options are passed as in `make bench ARGS="--only W1,W2 --rounds 5"`. `--growth`
measures logs of up to 10 M events.

The speed of machines drifts, so only ratios are meaningful: every subject runs every workload in turn, several times,
each time in a new process on a new file, and ratios are taken within a round. Writes run.json and run.svg;
`bench/report.py` publishes them.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import chart
import lost_events
import properties
import report
from goals import SUBJECTS, WORKLOADS, Workload
from machine import machine, versions
from measure import check, in_file, in_view

__all__ = ["main"]

BENCH = Path(__file__).parent
PROBE_APPENDS = 4000
MEMORY_SIZES = (100_000, 1_000_000)
GROWTH_SIZES = "100_000,1_000_000,10_000_000"
IMPORTS = 21
UPCAST = 900

Samples = dict[tuple[str, str], list[dict[str, Any]]]
"""The results of all rounds, by workload and subject."""


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="work-", dir=options.out))  # /tmp may be a file system without fsync
    try:
        result = _measure(options, work)
    finally:
        shutil.rmtree(work)
    (options.out / "run.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    (options.out / "run.svg").write_text(chart.drawn(result), "utf-8")
    print(report.text(result))
    return 1 if any(result["lost_events"][each] for each in report.MUST_BE_ZERO) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="W1,W5", help="workloads and properties to measure")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="number of rounds (default: 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="factor for all numbers of operations (default: 1)"
    )
    parser.add_argument(
        "--out", type=Path, default=BENCH / "results", metavar="DIR", help="folder for results and data"
    )
    parser.add_argument(
        "--growth", nargs="?", const=GROWTH_SIZES, metavar="SIZES",
        help=f"also measure logs of these sizes (default: {GROWTH_SIZES}; takes minutes and 1.2 kB of disk per event)",
    )  # fmt: skip
    return parser.parse_args()


def _measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    only = [each for each in options.only.split(",") if each]
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "backend": "sqlite",
        "durability": "WAL, synchronous=FULL, read back",
        "machine": machine(work),
        "versions": versions(),
        "scale": options.scale,
    }
    probed = work / "probe.db"
    _say("lost events")
    result["lost_events"] = lost_events.probe(str(probed), max(64, int(PROBE_APPENDS * min(1.0, options.scale))))
    chosen = [each for each in WORKLOADS if _wanted(each.key, only)]
    samples = _rounds(chosen, options.rounds, options.scale, work)
    result["rows"] = [row for each in chosen for row in _rows(each, samples)]
    result["properties"] = _properties(only, options, work)
    result["goals"] = report.judged(result)
    return result


def _wanted(key: str, only: list[str]) -> bool:
    return not only or any(key == each or key.startswith(f"{each}-") for each in only)


def _rounds(chosen: list[Workload], rounds: int, scale: float, work: Path) -> Samples:
    samples: Samples = {}
    missing = set[str]()
    for turn in range(rounds):
        for workload in chosen:
            subjects = list(workload.sizes)
            for subject in subjects[turn % len(subjects) :] + subjects[: turn % len(subjects)]:
                if subject in missing:
                    continue
                _say(f"round {turn + 1} of {rounds}: {workload.key} {SUBJECTS[subject]}")
                n = max(100, int(workload.sizes[subject] * scale))
                found = _child(subject, workload.key, n, work)
                if found is None:
                    missing.add(subject)
                else:
                    samples.setdefault((workload.key, subject), []).append(found)
    return samples


def _child(subject: str, workload: str, n: int, work: Path) -> dict[str, Any] | None:
    """Run and verify a workload in a new process on a new file. Return None if the subject is not installed."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        path = str(Path(folder) / "bench.db")
        command = [sys.executable, str(BENCH / "child.py"), subject, workload, str(n), path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 3:
            print(f"{SUBJECTS[subject]} is left out: {done.stderr.strip()}", file=sys.stderr)
            return None
        if done.returncode:
            raise SystemExit(f"{workload} of {subject} failed:\n{done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        if not found:
            return {}
        check("events in the file", in_file(path, found["table"]), found["stored"])
        if workload == "W7":
            check("events in the read model", in_view(path), found["n"])
        return found


def _rows(workload: Workload, samples: Samples) -> list[dict[str, Any]]:
    """Return a row for each subject: medians, and medians of the ratios within a round."""
    ours = samples.get((workload.key, "fait_system"), [])
    rows = list[dict[str, Any]]()
    for subject in workload.sizes:
        theirs = samples.get((workload.key, subject), [])
        if not theirs or not theirs[0]:
            continue
        row: dict[str, Any] = {"backend": "sqlite", "workload": workload.key, "subject": subject, "unit": workload.unit}
        for figure in ("ops_s", "p50_us", "p99_us"):
            known = theirs[0][figure] is not None
            row[figure] = round(statistics.median(each[figure] for each in theirs), 1) if known else None
            both = known and bool(ours) and ours[0].get(figure) is not None
            ratios = [one[figure] / other[figure] for one, other in zip(ours, theirs, strict=True)] if both else []
            row[f"{figure}_ratio"] = round(statistics.median(ratios), 3) if ratios else None
            row[f"{figure}_ratios"] = [round(each, 3) for each in ratios]
        rows.append({**row, "n": theirs[0]["n"], "rounds": len(theirs)})
    return rows


def _properties(only: list[str], options: argparse.Namespace, work: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if _wanted("import", only):
        _say("import time")
        found["import"] = properties.import_time(work, max(3, int(IMPORTS * min(1.0, options.scale))))
    if _wanted("upcasting", only):
        _say("upcasting")
        found["upcasting"] = properties.upcasting(max(100, int(UPCAST * options.scale)), options.rounds)
    if _wanted("memory", only):
        _say("memory of a catch-up")
        small, large = (max(1000, int(size * options.scale)) for size in MEMORY_SIZES)
        found["memory"] = properties.memory(work, (small, large), options.rounds)
    if options.growth:
        sizes = [int(each) for each in options.growth.split(",")]
        _check_room(work, sum(sizes))
        _say(f"growth: {' and '.join(f'{size:,}' for size in sizes)} events")
        found["growth"] = properties.growth(work, sizes, options.rounds)
    return found


def _check_room(work: Path, events: int) -> None:
    needed, free = events * properties.BYTES_PER_EVENT, shutil.disk_usage(work).free
    if free < needed:
        raise SystemExit(
            f"not enough disk space: {events:,} events need {needed >> 20:,} MiB, and {free >> 20:,} MiB are free. "
            "Name another folder with --out DIR."
        )


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
