"""Workloads, subjects and goals of the benchmark on PostgreSQL. Data only."""

from dataclasses import dataclass
from typing import Literal

from goals import Goal, Workload

__all__ = ["FAR", "GOALS", "LIMITS", "OURS", "PEERS", "PROPERTIES", "SUBJECTS", "WORKLOADS", "Subject"]


@dataclass(frozen=True)
class Subject:
    """A program that runs the workloads.

    Attributes:
        title: Name in tables.
        module: Module of `postgres.subjects`.
        kind: "ours": fait; "peer": a library or server for the same purpose; "limit": a hand-written program.
        loop: The event loop, if the subject uses one.
        options: Options appended to its URL.
        rival: For fait: the subject with the same event loop, used where a goal names `asyncpg`.
    """

    title: str
    module: str
    kind: Literal["ours", "peer", "limit"]
    loop: Literal["asyncio", "uvloop"] = "asyncio"
    options: str = ""
    rival: str = "asyncpg"


SUBJECTS = {
    "fait": Subject("fait", "fait_system", "ours"),
    "fait-uvloop": Subject("fait, uvloop", "fait_system", "ours", "uvloop", rival="asyncpg-uvloop"),
    "eventsourcing": Subject("eventsourcing", "eventsourcing_app", "peer"),
    "eventsourcing-functions": Subject(
        "eventsourcing, functions", "eventsourcing_app", "peer", options="POSTGRES_ENABLE_DB_FUNCTIONS=y"
    ),
    "umadb": Subject("UmaDB", "umadb_server", "peer"),
    "emmett": Subject("Emmett", "emmett_node", "peer"),
    "asyncpg": Subject("asyncpg", "raw_asyncpg", "limit"),
    "asyncpg-uvloop": Subject("asyncpg, uvloop", "raw_asyncpg", "limit", "uvloop"),
    "asyncpg-same": Subject("asyncpg, fait's table", "raw_asyncpg", "limit", options="same_table=y"),
    "psycopg": Subject("psycopg COPY", "raw_psycopg", "limit"),
    "psycopg-same": Subject("psycopg COPY, fait's table", "raw_psycopg", "limit", options="same_table=y"),
    "pgbench": Subject("pgbench", "pgbench", "limit"),
}
OURS = tuple(name for name, each in SUBJECTS.items() if each.kind == "ours")
PEERS = tuple(name for name, each in SUBJECTS.items() if each.kind == "peer")
"""Libraries and servers for the same purpose. fait must be at least as fast as each of them."""

LIMITS = tuple(name for name, each in SUBJECTS.items() if each.kind == "limit")
"""Hand-written programs: the limit of the database and its drivers."""


def _sizes(ours: int, /, **others: int) -> dict[str, int]:
    return {**dict.fromkeys(OURS, ours), **{name.replace("_", "-"): n for name, n in others.items()}}


WORKLOADS = (
    Workload(
        "W1",
        "append, 1 caller",
        "appends/s",
        _sizes(
            3000, eventsourcing=2000, eventsourcing_functions=2000, umadb=3000, emmett=2000, asyncpg=5000,
            asyncpg_uvloop=5000, asyncpg_same=5000, pgbench=5000,
        ),
    ),
    Workload(
        "W2",
        "append, 64 callers in one process",
        "appends/s",
        _sizes(
            32000, eventsourcing=1280, eventsourcing_functions=2560, umadb=16000, emmett=3200, asyncpg=16000,
            asyncpg_uvloop=16000, asyncpg_same=16000, pgbench=32000,
        ),
    ),
    Workload(
        "W3",
        "append, 4 processes of 16 callers",
        "appends/s",
        _sizes(
            32000, eventsourcing=1280, eventsourcing_functions=2560, umadb=16000, emmett=3200, asyncpg=16000,
            asyncpg_uvloop=16000, asyncpg_same=16000,
        ),
    ),
    Workload(
        "W4",
        "import, 10 events per append, 64 callers",
        "events/s",
        _sizes(
            100_000, eventsourcing=12_800, eventsourcing_functions=19_200, umadb=40_000, emmett=25_600, asyncpg=64_000,
        ),
    ),
    Workload(
        "W4-bulk",
        "import in bulk",
        "events/s",
        _sizes(
            100_000, eventsourcing=20_000, eventsourcing_functions=20_000, umadb=50_000, asyncpg=100_000,
            psycopg=100_000, psycopg_same=100_000,
        ),
    ),
    Workload(
        "W5-one",
        "fold one stream of 10,000 events",
        "events/s",
        _sizes(
            10_000, eventsourcing=10_000, eventsourcing_functions=10_000, umadb=10_000, emmett=10_000, asyncpg=10_000,
        ),
    ),
    Workload(
        "W5-many",
        "fold 5,000 streams of 10 events",
        "events/s",
        _sizes(5000, eventsourcing=1500, eventsourcing_functions=1500, umadb=5000, emmett=1500, asyncpg=5000),
    ),
    Workload(
        "W5-load-many",
        "fold 5,000 streams of 10 events, 100 at a time",
        "events/s",
        _sizes(5000, eventsourcing=1500, asyncpg=5000),
    ),
    Workload(
        "W6",
        "load 20 events, decide, append",
        "commands/s",
        _sizes(
            2000, eventsourcing=1000, eventsourcing_functions=1000, umadb=1500, emmett=1000, asyncpg=3000,
            asyncpg_uvloop=3000,
        ),
    ),
    Workload(
        "W7",
        "catch-up of a read model, atomic checkpoint",
        "events/s",
        _sizes(200_000, eventsourcing=2000, eventsourcing_functions=2000, emmett=2000, asyncpg=200_000),
    ),
    Workload(
        "W7-sql",
        "the same, by SQL that a handler writes",
        "events/s",
        _sizes(20_000, eventsourcing=2000, eventsourcing_functions=2000, emmett=2000, asyncpg=50_000),
    ),
    Workload(
        "W8",
        "append to handler, idle",
        "",
        _sizes(300, eventsourcing=300, eventsourcing_functions=300, umadb=300, emmett=20),
    ),
    Workload(
        "W8-notify",
        "append to handler in another process, idle",
        "",
        _sizes(300, eventsourcing=300, eventsourcing_functions=300, umadb=300, asyncpg=300),
    ),
)  # fmt: skip

FAR = ("W1", "W2", "W5-many", "W5-load-many", "W6", "W7-sql", "W8-notify")
"""Workloads that are sensitive to round trips; they also run through a slow network."""

PROPERTIES = {
    "growth-append": "append, p50, at the largest log relative to the smallest",
    "growth-conditional": "append with a condition, likewise",
    "growth-read": "read-stream, likewise",
    "stalls-appends": "appends to other streams, while a transaction that has appended stays open",
    "stalls-foreign": "append to reader, while a foreign transaction stays open",
    "stalls-foreign-notify": "the same, reader in another process",
    "stalls-rollback": "append to reader, right after an append that was rolled back",
    "stalls-rollback-notify": "the same, reader in another process",
}
"""Ratios of fait to itself; lower is better."""

GOALS = (
    Goal("W1", "eventsourcing", "ops_s", 2.4),
    Goal("W1", "asyncpg", "ops_s", 0.75),
    Goal("W2", "eventsourcing", "ops_s", 28.0),
    Goal("W2", "umadb", "ops_s", 3.0),
    Goal("W2", "pgbench", "ops_s", 1.5),
    Goal("W3", "eventsourcing", "ops_s", 20.0),
    Goal("W3", "asyncpg", "ops_s", 4.5),
    Goal("W4", "eventsourcing", "ops_s", 10.0),
    Goal("W4-bulk", "psycopg", "ops_s", 0.7),
    Goal("W5-one", "eventsourcing", "ops_s", 9.0),
    Goal("W5-many", "eventsourcing", "ops_s", 4.5),
    Goal("W5-load-many", "eventsourcing", "ops_s", 25.0),
    Goal("W6", "eventsourcing", "ops_s", 3.3),
    Goal("W6", "asyncpg", "ops_s", 0.75),
    Goal("W7", "eventsourcing", "ops_s", 50.0),
    Goal("W7-sql", "eventsourcing", "ops_s", 25.0),
    Goal("W8", "eventsourcing", "p50_us", 0.35),
    Goal("W8", "eventsourcing", "p99_us", 0.6),
    Goal("W8-notify", "eventsourcing", "p50_us", 0.5),
    Goal("W8-notify", "eventsourcing", "p99_us", 0.6),
    Goal("growth-append", "fait", "p50_us", 1.2),
    Goal("growth-conditional", "fait", "p50_us", 1.2),
    Goal("growth-read", "fait", "p50_us", 1.2),
    Goal("stalls-appends", "fait", "p99_us", 1.1),
    Goal("stalls-foreign", "fait", "p50_us", 1.1),
    Goal("stalls-foreign", "fait", "p99_us", 1.25),
    Goal("stalls-foreign-notify", "fait", "p50_us", 1.1),
    Goal("stalls-foreign-notify", "fait", "p99_us", 1.25),
    Goal("stalls-rollback", "fait", "p50_us", 1.1),
    Goal("stalls-rollback-notify", "fait", "p50_us", 1.1),
)
