"""What is measured, and the ratios that fait holds itself to. Data only."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["GOALS", "LIMITS", "PEERS", "PROPERTIES", "SUBJECTS", "WORKLOADS", "Goal", "Workload"]


@dataclass(frozen=True)
class Workload:
    """One thing to be done, and how much of it by whom.

    Attributes:
        key: its name; "W5" on the command line means all that begin with it.
        title: in words.
        unit: of the rate.
        sizes: how much each subject does in a run; those not named cannot do it. Slow ones do less: rates are steady.
    """

    key: str
    title: str
    unit: str
    sizes: dict[str, int]


@dataclass(frozen=True)
class Goal:
    """A ratio fait to another subject, or of fait to itself, that must hold.

    Attributes:
        key: of the workload or property.
        against: the subject fait is compared with.
        figure: "ops_s": more is better; "p50_us", "p99_us": less is better.
        limit: the least ratio of rates, or the greatest ratio of times.
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
"""Libraries for the same purpose: fait shall never be slower than the best of them."""

LIMITS = ("raw_apsw", "raw_apsw_thread", "raw_sqlite3")
"""Hand-written programs without expected versions, read models or subscriptions: what the database gives."""

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
    "growth-append": "append at the largest log against the smallest, p50",
    "growth-read": "read-stream at the largest log against the smallest, p50",
    "import": "`import fait` against `import asyncio, msgspec, sqlite3`",
    "upcasting": "fold of current events whose older versions are upcast, against one by hand",
    "memory": "peak memory of a catch-up, 1 M events against 100 k",
}
"""Ratios of fait to itself: less is better."""

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
