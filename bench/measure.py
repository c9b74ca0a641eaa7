"""One clock and one form of result for every subject."""

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
    """A workload did not do what it was timed for: its figure would mean nothing."""


def check(what: str, found: object, expected: object) -> None:
    """Refuse a figure whose work was not done."""
    if found != expected:
        raise WrongResult(f"{what}: {found!r}, expected {expected!r}")


def percentile(latencies_s: Sequence[float], share: float) -> float:
    """In microseconds."""
    ordered = sorted(latencies_s)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e6, 1)


def outcome(count: int, seconds: float | None, latencies_s: Sequence[float] = (), *, stored: int) -> Outcome:
    """What one run gives.

    Args:
        count: operations done; events, where the workload counts events.
        seconds: how long they took; None when only latency is measured.
        latencies_s: of each operation.
        stored: events that must be in the file now, warm-up included.
    """
    return {
        "n": count,
        "ops_s": None if seconds is None else round(count / seconds, 1),
        "p50_us": percentile(latencies_s, 0.50) if latencies_s else None,
        "p99_us": percentile(latencies_s, 0.99) if latencies_s else None,
        "stored": stored,
    }


def timed(act: Callable[[T], object], things: Sequence[T]) -> tuple[float, list[float]]:
    """Act on each of the things, which were made before; gives seconds in all, and of each."""
    latencies = list[float]()
    started = before = time.perf_counter()
    for thing in things:
        act(thing)
        now = time.perf_counter()
        latencies.append(now - before)
        before = now
    return before - started, latencies


async def timed_async(act: Callable[[T], Awaitable[object]], things: Sequence[T]) -> tuple[float, list[float]]:
    """As `timed`, one after the other."""
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
    """As `timed`, by so many callers at once."""
    started = time.perf_counter()
    parts = await asyncio.gather(*(timed_async(act, things[caller::callers]) for caller in range(callers)))
    return time.perf_counter() - started, [each for _, latencies in parts for each in latencies]


def by_threads(act: Callable[[T], object], things: Sequence[T], callers: int = CALLERS) -> tuple[float, list[float]]:
    """As `concurrently`, by threads."""
    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as threads:
        parts = list(threads.map(lambda caller: timed(act, things[caller::callers])[1], range(callers)))
    return time.perf_counter() - started, [each for latencies in parts for each in latencies]


def in_file(path: str, table: str) -> int:
    """Events that a file holds, counted by another program than those that wrote it."""
    return _asked(path, f"SELECT count(*) FROM {table}")  # noqa: S608


def in_view(path: str) -> int:
    """Events that have gone into the rows of a file's read model."""
    return _asked(path, "SELECT sum(n) FROM order_view")


def _asked(path: str, statement: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchone()[0]
    finally:
        connection.close()
