"""The result of a verification: violated guarantees, delivery delays and unsafe settings."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from fait._store.ports.store import Finding

__all__ = ["ReaderReport", "VerifyReport", "Violation", "describe", "reader_report"]


class Violation(StrEnum):
    """A guarantee that was violated. The name is its key in JSON, the value describes it to a person."""

    MISSED_EVENT = "a reader missed an event"
    DUPLICATE_EVENT = "an event was stored or delivered twice"
    WRONG_ORDER = "events were stored or delivered out of order"
    LOST_EVENT = "an acknowledged event was not stored"
    MISPLACED_EVENT = "an event was stored in another stream or version than acknowledged"
    REJECTED_EVENT_STORED = "a rejected event was stored"
    ROLLED_BACK_EVENT = "an event of a rolled back transaction was stored or delivered"
    PHANTOM_EVENT = "an event was delivered but is not stored"
    TORN_TRANSACTION = "a transaction stored only its row or only its event"
    CONDITION_VIOLATED = "an append succeeded although its condition did not hold"
    TIME_REGRESSION = "the recorded time decreased within a stream"
    WRONG_RESULT = "an append returned a wrong result"
    FAILED_PROCESS = "a process failed or did not end in time"


class ReaderReport(Struct, frozen=True):
    """Deliveries to one reader.

    Attributes:
        delivered: number of delivered events.
        delay_p50_ms, delay_p99_ms: time from an acknowledgment until the reader had the event.
        rollback_delay_p50_ms, rollback_delay_p99_ms: time from a rollback until the reader had every event that was
            acknowledged before it.
    """

    delivered: int
    delay_p50_ms: float
    delay_p99_ms: float
    rollback_delay_p50_ms: float
    rollback_delay_p99_ms: float


class VerifyReport(Struct):
    """What a verification did and found.

    Attributes:
        seed: reproduces the random choices, but not the interleaving of the processes.
        seconds: how long the writers ran.
        stored: number of events in the log.
        acknowledged: number of events that were acknowledged to a caller.
        rejected: number of events that were rejected: the caller knows that they are not stored.
        rolled_back: number of transactions that added an event and were rolled back.
        killed: number of killed processes.
        errors: errors that callers may receive, by exception type: how often, and the latest text.
        readers: deliveries by reader.
        violations: violated guarantees, with the number of occurrences.
        examples: some occurrences of each violation.
        unsafe_settings: findings about the store and its connections.
        interrupted: whether the verification was stopped early.
    """

    seed: int
    seconds: float
    stored: int
    acknowledged: int
    rejected: int
    rolled_back: int
    killed: int
    errors: dict[str, tuple[int, str]]
    readers: dict[str, ReaderReport]
    violations: dict[Violation, int]
    examples: dict[Violation, list[Any]]
    unsafe_settings: list[Finding]
    interrupted: bool = False

    @property
    def passed(self) -> bool:
        """Whether no guarantee was violated."""
        return not self.violations

    def as_json(self) -> dict[str, Any]:
        """Return the report as values for JSON. Violations are keyed by name, in lower case."""
        return {
            "passed": self.passed,
            **msgspec.structs.asdict(self),
            "violations": {violation.name.lower(): count for violation, count in self.violations.items()},
            "examples": {violation.name.lower(): examples for violation, examples in self.examples.items()},
        }


def reader_report(delivered: int, delays_s: Sequence[float], rollback_delays_s: Sequence[float]) -> ReaderReport:
    """Summarize delays, given in any order."""
    return ReaderReport(delivered, *_percentiles_ms(delays_s), *_percentiles_ms(rollback_delays_s))


def _percentiles_ms(delays_s: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(delays_s) or [0.0]
    return round(ordered[len(ordered) // 2] * 1000, 1), round(ordered[len(ordered) * 99 // 100] * 1000, 1)


def describe(report: VerifyReport) -> str:
    """Summarize a report in a few sentences, with the next step if a guarantee was violated."""
    activity = (
        f"{report.stored:,} events stored, {report.rejected:,} rejected, {report.rolled_back:,} transactions rolled "
        f"back and {report.killed:,} processes killed in {report.seconds:.0f} s (seed {report.seed})."
    )
    prefix = "Interrupted. " if report.interrupted else ""
    if report.passed:
        count = len([each for each in report.unsafe_settings if each.status == "problem"])
        settings = "" if not count else f" {count} unsafe setting{'' if count == 1 else 's'}: see above."
        return f"{prefix}PASSED: no guarantee was violated. {activity}{settings}"
    total = sum(report.violations.values())
    return (
        f"{prefix}FAILED: {total:,} violations, see above. {activity} Do not use this store in production on this "
        f"server until the cause is known. Run fait doctor --store URL to check its settings, and repeat with --seed "
        f"{report.seed}."
    )
