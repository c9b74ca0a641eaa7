"""Timing and the format of results, shared by all subjects."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = [
    "CALLERS",
    "Outcome",
    "WrongResult",
    "by_threads",
    "check",
    "concurrently",
    "in_file",
    "in_view",
    "outcome",
    "percentile",
    "timed",
    "timed_async",
]

CALLERS = 64

T = TypeVar("T")

Outcome = dict[str, Any]


class WrongResult(Exception):
    """A workload did not do its work, so its figure is invalid."""


def check(what: str, found: object, expected: object) -> None:
    """Raise `WrongResult` if a value differs from the expected one."""
    if found != expected:
        raise WrongResult(f"{what}: {found!r}, expected {expected!r}")


def percentile(latencies_s: Sequence[float], share: float) -> float:
    """Return a percentile in microseconds."""
    ordered = sorted(latencies_s)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e6, 1)


def outcome(count: int, seconds: float | None, latencies_s: Sequence[float] = (), *, stored: int) -> Outcome:
    """Return the result of a run.

    Args:
        count: Number of operations, or of events if the workload counts events.
        seconds: Total duration; None if only latency is measured.
        latencies_s: Latency of each operation.
        stored: Number of events that must be in the file, including the warm-up.
    """
    return {
        "n": count,
        "ops_s": None if seconds is None else round(count / seconds, 1),
        "p50_us": percentile(latencies_s, 0.50) if latencies_s else None,
        "p99_us": percentile(latencies_s, 0.99) if latencies_s else None,
        "stored": stored,
    }


def timed(act: Callable[[T], object], things: Sequence[T]) -> tuple[float, list[float]]:
    """Call `act` with each item, and return the total seconds and those of each call."""
    latencies = list[float]()
    started = before = time.perf_counter()
    for thing in things:
        act(thing)
        now = time.perf_counter()
        latencies.append(now - before)
        before = now
    return before - started, latencies


async def timed_async(act: Callable[[T], Awaitable[object]], things: Sequence[T]) -> tuple[float, list[float]]:
    """Do the same as `timed` with a coroutine function."""
    latencies = list[float]()
    started = before = time.perf_counter()
    for thing in things:
        await act(thing)
        now = time.perf_counter()
        latencies.append(now - before)
        before = now
    return before - started, latencies


async def concurrently(
    act: Callable[[T], Awaitable[object]], things: Sequence[T], callers: int = CALLERS
) -> tuple[float, list[float]]:
    """Do the same as `timed_async` with concurrent callers."""
    started = time.perf_counter()
    parts = await asyncio.gather(*(timed_async(act, things[caller::callers]) for caller in range(callers)))
    return time.perf_counter() - started, [each for _, latencies in parts for each in latencies]


def by_threads(act: Callable[[T], object], things: Sequence[T], callers: int = CALLERS) -> tuple[float, list[float]]:
    """Do the same as `concurrently` with threads."""
    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as threads:
        parts = list(threads.map(lambda caller: timed(act, things[caller::callers])[1], range(callers)))
    return time.perf_counter() - started, [each for latencies in parts for each in latencies]


def in_file(path: str, table: str) -> int:
    """Count the events in a file, independently of the program that wrote it."""
    return _fetch_value(path, f"SELECT count(*) FROM {table}")  # noqa: S608


def in_view(path: str) -> int:
    """Count the events that were folded into the rows of a file's read model."""
    return _fetch_value(path, "SELECT sum(n) FROM order_view")


def _fetch_value(path: str, statement: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchone()[0]
    finally:
        connection.close()
