"""Workloads, subjects and goals of the benchmark on SQLite. Data only."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["GOALS", "LIMITS", "PEERS", "PROPERTIES", "SUBJECTS", "WORKLOADS", "Goal", "Workload"]


@dataclass(frozen=True)
class Workload:
    """An operation, and how often each subject performs it.

    Attributes:
        key: Name of the workload; "W5" on the command line selects all keys that begin with it.
        title: Description, as shown in tables and charts.
        unit: Unit of the rate.
        sizes: Number of operations of each subject in a run. Other subjects cannot run the workload. Slow subjects do
            fewer, which does not change their rate.
    """

    key: str
    title: str
    unit: str
    sizes: dict[str, int]


@dataclass(frozen=True)
class Goal:
    """A ratio of fait to another subject, or to itself, that fait is meant to reach.

    Attributes:
        key: Key of the workload or property.
        against: The subject that fait is compared with.
        figure: "ops_s" (higher is better), "p50_us" or "p99_us" (lower is better).
        limit: Minimum ratio of rates, or maximum ratio of times.
    """

    key: str
    against: str
    figure: Literal["ops_s", "p50_us", "p99_us"]
    limit: float


SUBJECTS = {
    "fait_system": "fait",
    "eventsourcing_app": "eventsourcing",
    "raw_apsw": "apsw",
    "raw_apsw_thread": "apsw in a thread",
    "raw_sqlite3": "sqlite3",
}
PEERS = ("eventsourcing_app",)
"""Libraries for the same purpose. fait must be at least as fast as each of them."""

LIMITS = ("raw_apsw", "raw_apsw_thread", "raw_sqlite3")
"""Hand-written programs without expected versions, read models or subscriptions: the limit of the database."""

WORKLOADS = (
    Workload(
        "W1",
        "append, 1 caller",
        "appends/s",
        {
            "fait_system": 4000,
            "eventsourcing_app": 4000,
            "raw_apsw": 6000,
            "raw_apsw_thread": 4000,
            "raw_sqlite3": 6000,
        },
    ),
    Workload(
        "W2",
        "append, 64 callers in one process",
        "appends/s",
        {"fait_system": 32000, "eventsourcing_app": 3200, "raw_apsw": 6000, "raw_apsw_thread": 6400},
    ),
    Workload(
        "W4",
        "import, 10 events per append, 64 callers",
        "events/s",
        {"fait_system": 100_000, "eventsourcing_app": 20_000, "raw_apsw": 50_000},
    ),
    Workload(
        "W4-bulk",
        "import in bulk",
        "events/s",
        {"fait_system": 100_000, "eventsourcing_app": 20_000, "raw_apsw": 100_000, "raw_sqlite3": 100_000},
    ),
    Workload(
        "W5-one",
        "fold one stream of 10,000 events",
        "events/s",
        {"fait_system": 10_000, "eventsourcing_app": 10_000, "raw_apsw": 10_000, "raw_sqlite3": 10_000},
    ),
    Workload(
        "W5-many",
        "fold 5,000 streams of 10 events",
        "events/s",
        {"fait_system": 5000, "eventsourcing_app": 5000, "raw_apsw": 5000},
    ),
    Workload("W5-load-many", "fold 5,000 streams of 10 events, 100 at a time", "events/s", {"fait_system": 5000}),
    Workload(
        "W6",
        "load 20 events, decide, append",
        "commands/s",
        {"fait_system": 2000, "eventsourcing_app": 2000, "raw_apsw": 2000},
    ),
    Workload(
        "W7",
        "catch-up of a read model, atomic checkpoint",
        "events/s",
        {"fait_system": 200_000, "eventsourcing_app": 5000, "raw_apsw": 200_000},
    ),
    Workload("W8", "append to handler, idle", "", {"fait_system": 300, "eventsourcing_app": 300}),
)

PROPERTIES = {
    "growth-append": "append, p50, at the largest log relative to the smallest",
    "growth-read": "read-stream, p50, at the largest log relative to the smallest",
    "import": "`import fait` relative to `import asyncio, msgspec, sqlite3`",
    "upcasting": "fold of events whose older versions have upcasters, relative to a hand-written loop",
    "memory": "peak memory of a catch-up, 1 M events relative to 100 k",
}
"""Ratios of fait to itself; lower is better."""

GOALS = (
    Goal("W1", "eventsourcing_app", "ops_s", 1.25),
    Goal("W1", "raw_apsw", "ops_s", 0.62),
    Goal("W2", "eventsourcing_app", "ops_s", 12.0),
    Goal("W2", "raw_apsw", "ops_s", 5.0),
    Goal("W4", "eventsourcing_app", "ops_s", 10.0),
    Goal("W4-bulk", "raw_apsw", "ops_s", 0.7),
    Goal("W5-one", "eventsourcing_app", "ops_s", 12.0),
    Goal("W5-many", "eventsourcing_app", "ops_s", 9.0),
    Goal("W6", "eventsourcing_app", "ops_s", 2.2),
    Goal("W7", "eventsourcing_app", "ops_s", 60.0),
    Goal("W8", "eventsourcing_app", "p50_us", 0.6),
    Goal("growth-append", "fait_system", "p50_us", 1.2),
    Goal("growth-read", "fait_system", "p50_us", 1.2),
    Goal("import", "fait_system", "p50_us", 1.3),
    Goal("upcasting", "fait_system", "p50_us", 1.03),
    Goal("memory", "fait_system", "p50_us", 1.1),
)
