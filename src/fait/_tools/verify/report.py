"""What was found, and what it means in plain words."""

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from fait._store.health import Finding

__all__ = [
    "CONDITION",
    "DUPLICATED",
    "FAILED",
    "FAULTS",
    "MISSED",
    "MOVED",
    "NOT_STORED",
    "REFUSED_STORED",
    "REORDERED",
    "ROLLED_BACK",
    "TIME_BACK",
    "TORN",
    "UNKNOWN",
    "WRONG_ANSWER",
    "Fault",
    "FeedReport",
    "VerifyReport",
    "describe",
    "feed",
]

Fault = Literal[
    "missed",
    "duplicated",
    "reordered",
    "acknowledged but not stored",
    "stored elsewhere than acknowledged",
    "refused but stored",
    "rolled back but delivered",
    "delivered but not stored",
    "row and event apart",
    "broken condition",
    "recorded time going back",
    "wrong answer",
    "failed",
]
"""A promise that was broken."""

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)

MISSED: Final = "missed"
DUPLICATED: Final = "duplicated"
REORDERED: Final = "reordered"
NOT_STORED: Final = "acknowledged but not stored"
MOVED: Final = "stored elsewhere than acknowledged"
REFUSED_STORED: Final = "refused but stored"
ROLLED_BACK: Final = "rolled back but delivered"
UNKNOWN: Final = "delivered but not stored"
TORN: Final = "row and event apart"
CONDITION: Final = "broken condition"
TIME_BACK: Final = "recorded time going back"
WRONG_ANSWER: Final = "wrong answer"
FAILED: Final = "failed"


class FeedReport(Struct, frozen=True):
    """How one reader was served; times in milliseconds.

    Attributes:
        delivered: events that it was given.
        delay_p50_ms, delay_p99_ms: from an acknowledgement until it had the event.
        after_rollback_p50_ms, after_rollback_p99_ms: from a rollback until it had all that was acknowledged before.
    """

    delivered: int
    delay_p50_ms: float
    delay_p99_ms: float
    after_rollback_p50_ms: float
    after_rollback_p99_ms: float


class VerifyReport(Struct):
    """What was done and found.

    Attributes:
        seed: gives the same chances again, though not the same interleaving.
        seconds: how long writers wrote.
        stored: events that are in the log.
        acknowledged: events that writers were told are stored.
        refused: events that writers were told are not.
        rolled_back: transactions with an event.
        killed: processes.
        errors: that callers were given and may be given, by kind; with the last text of each.
        feeds: by reader.
        broken: promises that were broken, and how often.
        examples: of each.
        unsafe: what the store and its connections were found to be set to.
        interrupted: whether it was told to stop before its time.
    """

    seed: int
    seconds: float
    stored: int
    acknowledged: int
    refused: int
    rolled_back: int
    killed: int
    errors: dict[str, tuple[int, str]]
    feeds: dict[str, FeedReport]
    broken: dict[Fault, int]
    examples: dict[Fault, list[Any]]
    unsafe: list[Finding]
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken


def feed(delivered: int, delays: Sequence[float], after_rollback: Sequence[float]) -> FeedReport:
    """From delays in seconds, in any order."""
    return FeedReport(delivered, *_percentiles(delays), *_percentiles(after_rollback))


def _percentiles(delays: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(delays) or [0.0]
    return round(ordered[len(ordered) // 2] * 1000, 1), round(ordered[len(ordered) * 99 // 100] * 1000, 1)


def describe(report: VerifyReport) -> str:
    """A sentence or two for a person."""
    done = (
        f"{report.stored:,} events stored, {report.refused:,} refused, {report.rolled_back:,} transactions rolled back "
        f"and {report.killed:,} processes killed in {report.seconds:.0f} s (seed {report.seed})"
    )
    until = "Interrupted; until then: " if report.interrupted else ""
    if report.good:
        kept = f"{until}every promise was kept. {done}."
        unsafe = len([each for each in report.unsafe if each.status == "finding"])
        settings = "1 setting is" if unsafe == 1 else f"{unsafe} settings are"
        return f"{kept} But {settings} unsafe: see above." if unsafe else kept
    found = ", ".join(f"{count:,} {name}" for name, count in report.broken.items())
    return (
        f"{until}PROMISES WERE BROKEN: {found}. {done}. Do not trust this store with this server until that is "
        f"explained: check what fait doctor says, and run it once more with --seed {report.seed}."
    )
