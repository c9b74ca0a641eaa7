"""Ratios of fait to itself: growth of the log, memory of a catch-up, import time and upcasting.

properties.py fill|grown|memory FILE N      the parts, each in its own process
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import check, in_view, percentile, timed_async
from order import EVENTS_PER_ORDER

__all__ = ["BYTES_PER_EVENT", "growth", "import_time", "memory", "peak_mb", "upcasting"]

BYTES_PER_EVENT = 1200
"""Disk space required per event before a log is filled; the log needs about two thirds of it."""

READS = 1000


def growth(folder: Path, sizes: list[int], rounds: int) -> list[dict[str, Any]]:
    """Measure append and read-stream, p50, on logs of these sizes in turn."""
    paths = {size: str(folder / f"grown-{size}.db") for size in sizes}
    for size, path in paths.items():
        _run("fill", path, size)
    found = [{size: _run("grown", path, size) for size, path in paths.items()} for _ in range(rounds)]
    return [
        {
            "events": size,
            "rounds": rounds,
            **{
                f"{what}_{figure}": statistics.median(
                    each[size][what] / (each[sizes[0]][what] if figure == "ratio" else 1) for each in found
                )
                for what in ("append", "read")
                for figure in ("p50_us", "ratio")
            },
        }
        for size in sizes
    ]


def memory(folder: Path, sizes: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Measure the peak memory, in MB, of a process that builds a read model from these numbers of events."""
    paths = {size: str(folder / f"memory-{size}.db") for size in sizes}
    for size, path in paths.items():
        _run("fill", path, size)
    peaks = {size: list[float]() for size in sizes}
    for _ in range(rounds):
        for size, path in paths.items():
            peaks[size].append(_run("memory", path, size)["peak_mb"])
            check("events in the read model", in_view(path), size)
    small, large = (statistics.median(peaks[size]) for size in sizes)
    return {"events": list(sizes), "peak_mb": [small, large], "ratio": round(large / small, 3), "rounds": rounds}


def import_time(folder: Path, rounds: int) -> dict[str, Any]:
    """Measure import times in milliseconds, in turn, in new processes, without the start of the interpreter."""
    programs = {"fait": "import fait", "baseline": "import asyncio, msgspec, sqlite3"}
    found = {name: list[float]() for name in programs}
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode is compiled once, as for an installed package
    for turn in range(rounds + 1):  # the first turn warms the caches
        for name, program in programs.items():
            code = f"import time; t = time.perf_counter(); {program}; print(time.perf_counter() - t)"
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            if turn:
                found[name].append(float(done.stdout) * 1e3)
    ratio = statistics.median(one / other for one, other in zip(found["fait"], found["baseline"], strict=True))
    medians = {f"{name}_ms": round(statistics.median(each), 1) for name, each in found.items()}
    return {**medians, "ratio": round(ratio, 3), "rounds": rounds}


def upcasting(n: int, rounds: int) -> dict[str, Any]:
    """Measure the microseconds to fold an event whose type has upcasters, and those of a hand-written loop."""
    command = [sys.executable, str(Path(__file__).with_name("upcasting.py")), str(n)]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    medians = {name: round(statistics.median(each[name] for each in found), 3) for name in found[0]}
    return {"events": n, **medians, "rounds": rounds}


def _run(part: str, path: str, n: int) -> dict[str, Any]:
    command = [sys.executable, __file__, part, path, str(n)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


async def fill(path: str, n: int) -> dict[str, Any]:
    from subjects import fait_system

    async with fait_system.opened(path) as s:
        started = time.perf_counter()
        await fait_system.fill(s, range(n // EVENTS_PER_ORDER), EVENTS_PER_ORDER)
        return {"events_s": n / (time.perf_counter() - started)}


async def grown(path: str, n: int) -> dict[str, Any]:
    """Append to new streams, and read existing ones whose pages are in memory."""
    from subjects import fait_system

    rng = random.Random()
    first, streams = rng.randrange(1 << 40, 1 << 50), n // EVENTS_PER_ORDER
    numbers = [rng.randrange(streams) for _ in range(READS)]

    async with fait_system.opened(path) as s:

        async def read(place: int) -> None:
            check("events", len(await s.read(f"order-{numbers[place]}")), EVENTS_PER_ORDER)

        async def append(number: int) -> None:
            await s.append(fait_system.new_events(number, 1))

        await timed_async(read, range(READS))
        _, reads = await timed_async(read, range(READS))
        await timed_async(append, range(first, first + READS // 5))
        _, appends = await timed_async(append, range(first + READS, first + 2 * READS))
    return {"append": percentile(appends, 0.5), "read": percentile(reads, 0.5)}


async def catch_up(path: str, _n: int) -> dict[str, Any]:
    """Rebuild the read model; nothing else contributes to the memory of this process."""
    from subjects import fait_system

    await fait_system.catch_up(path, rebuild=True)
    return {"peak_mb": peak_mb()}


def peak_mb() -> float:
    """Return the peak memory of this process, without that of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return round(int(lines["VmHWM"].split()[0]) / 1024, 1)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20), 1)


PARTS = {"fill": fill, "grown": grown, "memory": catch_up}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(PARTS[sys.argv[1]](sys.argv[2], int(sys.argv[3])))))
