"""The rules of `fait advise`, as data: which facts speak for which pattern, how strongly, and who says so.

Storage and reads add up weights and compare the sum with a threshold; integration takes the first rule that applies. A
veto ends the sum: no weight makes up for it. The weights are judgement; the sources give the direction, not the number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from fait._advice.facts import Value

__all__ = [
    "AUDIT_NEEDS",
    "EVENT_SOURCING_SCORE",
    "INTEGRATION",
    "LOGICAL_CQRS_SCORE",
    "PILOT_SCORE",
    "PROJECTIONS_SCORE",
    "READ",
    "READ_EVENTS",
    "STORAGE",
    "STREAMING",
    "VETOES",
    "Integration",
    "Rule",
    "When",
]

Integration: TypeAlias = Literal["none", "in_process", "async_messaging", "outbox", "cdc"]
When: TypeAlias = Mapping[str, tuple[Value, ...]]

EVENT_SOURCING_SCORE: Final = 6
"""Minimum sum of the storage rules for event sourcing."""
PILOT_SCORE: Final = 3
"""Minimum sum of the storage rules to name event sourcing as a candidate for a pilot."""
PROJECTIONS_SCORE: Final = 4
"""Minimum sum of the read rules for projections."""
LOGICAL_CQRS_SCORE: Final = 2
"""Minimum sum of the read rules for separate queries on the same tables."""
AUDIT_NEEDS: Final = ("change_log", "full_audit", "temporal")
"""Needs for history that a history table serves if events are not the source of truth."""

_AZURE_ES: Final = "https://learn.microsoft.com/azure/architecture/patterns/event-sourcing"
_AZURE_CQRS: Final = "https://learn.microsoft.com/azure/architecture/patterns/cqrs"
_AZURE_OUTBOX: Final = "https://learn.microsoft.com/azure/architecture/databases/guide/transactional-out-box-cosmos"
_AWS_ES: Final = "https://docs.aws.amazon.com/prescriptive-guidance/latest/cloud-design-patterns/event-sourcing.html"
_FOWLER_CQRS: Final = "https://martinfowler.com/bliki/CQRS.html"
_FOWLER_EVENTS: Final = "https://martinfowler.com/articles/201701-event-driven.html"
_DAHAN: Final = "https://udidahan.com/2011/04/22/when-to-avoid-cqrs/"
_WHEN_NOT: Final = "https://event-driven.io/en/when_not_to_use_event_sourcing/"
_STREAMING_IS_NOT: Final = "https://event-driven.io/en/event_streaming_is_not_event_sourcing/"
_KIEHL: Final = "https://chriskiehl.com/article/event-sourcing-is-hard"
_OUTBOX: Final = "https://microservices.io/patterns/data/transactional-outbox.html"
_LOG_TAILING: Final = "https://microservices.io/patterns/data/transaction-log-tailing.html"
_OVEREEM: Final = "https://arxiv.org/abs/2104.01146"


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason for or against a pattern.

    Attributes:
        id: its name in reports.
        when: the facts that must be known, each with one of the values.
        because: the reason, as a sentence.
        source: the page that gives the reason.
        weight: what the rule adds; 0 for a veto or a choice.
        gives: the integration that the rule chooses, for integration rules.
    """

    id: str
    when: When
    because: str
    source: str
    weight: int = 0
    gives: Integration = "none"


STORAGE: Final = (
    Rule("S1-temporal", {"history_need": ("temporal",)}, "Past states are part of the questions.", _AWS_ES, 3),
    Rule("S1-audit", {"history_need": ("full_audit",)}, "A complete history must be proven.", _AZURE_ES, 2),
    Rule("S1-log", {"history_need": ("change_log",)}, "A history table answers who changed what and when.", _DAHAN),
    Rule("S1-none", {"history_need": ("none",)}, "The past is not asked for, only the current state.", _AZURE_ES, -2),
    Rule("S2-intent", {"intent_matters": (True,)}, "The reason for a change is part of the record.", _AZURE_ES, 2),
    Rule("S3-rich", {"lifecycle": ("rich",)}, "Entities pass through a workflow with rules of its own.", _WHEN_NOT, 2),
    Rule("S3-crud", {"lifecycle": ("crud",)}, "Records are created, edited and deleted, no more.", _WHEN_NOT, -3),
    Rule("S4-events", {"events_natural": (True,)}, "The business itself speaks of events.", _AZURE_ES, 1),
    Rule(
        "S11-record",
        {"history_need": ("full_audit", "temporal"), "intent_matters": (True,), "events_natural": (True,)},
        "The history is the evidence: a log next to the data can contradict it.",
        _AZURE_ES,
        1,
    ),
    Rule(
        "S5-shapes",
        {"read_shapes": ("several",), "history_need": ("full_audit", "temporal")},
        "One history feeds several views.",
        _AWS_ES,
        1,
    ),
    Rule(
        "S6-contention",
        {"contention": ("high",)},
        "An expected version resolves concurrent changes of one entity.",
        _AZURE_ES,
        1,
    ),
    Rule("S7-complex", {"domain_complexity": ("high",)}, "The rules of the domain are complex.", _FOWLER_CQRS, 1),
    Rule("S7-plain", {"domain_complexity": ("low",)}, "The domain has few rules.", _AZURE_ES, -2),
    Rule(
        "S8-new",
        {"team_experience": ("none",), "history_need": ("none", "change_log", "full_audit")},
        "The team is new to the pattern, and a table with a history table serves the need.",
        _WHEN_NOT,
        -4,
    ),
    Rule(
        "S8-learn",
        {"team_experience": ("none",), "history_need": ("temporal",)},
        "The team is new to the pattern: begin with one module.",
        _OVEREEM,
        -1,
    ),
    Rule("S8-strong", {"team_experience": ("strong",)}, "The team knows the pattern.", _OVEREEM, 1),
    Rule(
        "S9-erasure",
        {"personal_data": ("erasure",)},
        "Personal data must be erased: keep it outside the events, or encrypt it with a key per person.",
        _OVEREEM,
        -1,
    ),
    Rule(
        "S10-growth",
        {"stream_growth": ("unbounded",)},
        "A stream grows without limit: close it periodically and start a new one.",
        _STREAMING_IS_NOT,
        -1,
    ),
)

STREAMING: Final = Rule(
    "V1-measurements",
    {"record_kind": ("measurements",)},
    "Measurements are no decisions: a streaming platform and a time-series database serve them.",
    _STREAMING_IS_NOT,
)

VETOES: Final = (
    STREAMING,
    Rule("V2-reference", {"record_kind": ("reference",)}, "Reference data is served by a plain table.", _WHEN_NOT),
    Rule("V3-prototype", {"lifespan": ("prototype",)}, "A prototype is thrown away or rewritten.", _AZURE_ES),
    Rule("V4-frozen", {"write_path_changeable": (False,)}, "The writing program cannot be changed.", _LOG_TAILING),
)

INTEGRATION: Final = (
    Rule(
        "I1-frozen",
        {"consumers": ("services",), "loss": ("must_not_lose",), "write_path_changeable": (False,)},
        "The writer cannot change, so the facts come from your database's change data capture.",
        _LOG_TAILING,
        gives="cdc",
    ),
    Rule(
        "I2-single-write",
        {"consumers": ("services",), "loss": ("must_not_lose",), "dual_write": (False,)},
        "Nothing is written besides the message, so a durable queue is enough.",
        _FOWLER_EVENTS,
        gives="async_messaging",
    ),
    Rule(
        "I3-outbox",
        {"consumers": ("services",), "loss": ("must_not_lose",)},
        "The message must leave if, and only if, the transaction commits.",
        _OUTBOX,
        gives="outbox",
    ),
    Rule(
        "I4-tolerable",
        {"consumers": ("services",), "loss": ("tolerable",)},
        "A lost message does no harm: send it after the commit, or put a job into a queue.",
        _FOWLER_EVENTS,
        gives="async_messaging",
    ),
    Rule(
        "I5-dual-write",
        {"consumers": ("services",), "dual_write": (True,)},
        "Two systems are written one after the other, and a crash in between separates them.",
        _AZURE_OUTBOX,
        gives="outbox",
    ),
    Rule(
        "I6-services",
        {"consumers": ("services",)},
        "Other programs are told; nothing says that a loss matters.",
        _FOWLER_EVENTS,
        gives="async_messaging",
    ),
    Rule(
        "I7-in-process",
        {"consumers": ("in_process",)},
        "Consumers run in the same process and can share the transaction.",
        _AZURE_OUTBOX,
        gives="in_process",
    ),
)

READ: Final = (
    Rule("R1-high", {"read_asymmetry": ("high",)}, "Reads and writes differ widely in load or shape.", _AZURE_CQRS, 2),
    Rule("R1-medium", {"read_asymmetry": ("medium",)}, "Reads and writes differ in load or shape.", _AZURE_CQRS, 1),
    Rule("R2-shapes", {"read_shapes": ("several",)}, "Readers need the data in several shapes.", _AZURE_CQRS, 2),
    Rule("R3-contention", {"contention": ("high",)}, "Many users change the same data.", _DAHAN, 1),
    Rule("R4-tasks", {"lifecycle": ("rich",)}, "Screens follow tasks, not tables.", _AZURE_CQRS, 1),
    Rule(
        "R6-plain",
        {"domain_complexity": ("low",), "read_shapes": ("one",)},
        "A simple domain with one view needs one model.",
        _FOWLER_CQRS,
        -3,
    ),
    Rule(
        "R7-strict",
        {"staleness": ("strict_all",)},
        "Readers must see each write at once: maintain views in the same transaction.",
        _KIEHL,
        -2,
    ),
)

READ_EVENTS: Final = Rule(
    "R5-events", {}, "A list or a search over many entities cannot be answered by reading their events.", _AZURE_CQRS, 4
)
"""The read rule that applies if events are the source of truth."""
