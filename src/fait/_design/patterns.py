"""The patterns of a design as data: what each is for, the simpler alternative, what would change the choice, its cost.

The keys are the values of the advisor's axes, and parts that only code has.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

__all__ = ["AXES", "HEADLINES", "PATTERNS", "Pattern", "Tradeoff"]


class Tradeoff(Struct, frozen=True):
    """What a pattern costs and gives.

    Attributes:
        complexity: what it adds.
        benefit: what is gained.
        mitigation: what keeps the cost low.
    """

    complexity: str
    benefit: str
    mitigation: str


class Pattern(Struct, frozen=True):
    """A pattern, or the decision to use none.

    Attributes:
        title: its name.
        rationale: what it is chosen for.
        rejected: the simpler alternative, and what it does not give.
        change: what would change the choice.
        tradeoffs: its costs and benefits.
    """

    title: str
    rationale: str
    rejected: str
    change: str
    tradeoffs: tuple[Tradeoff, ...] = ()


AXES: Final[Mapping[str, str]] = {
    "storage": "Source of truth",
    "integration": "How facts leave the transaction",
    "read": "How reads are served",
}
"""The titles of the advisor's axes."""

HEADLINES: Final[Mapping[str, str]] = {
    "crud": "plain tables: no event-driven pattern is needed",
    "async_messaging": "simple asynchronous messages",
    "outbox": "a transactional outbox",
    "cqrs": "CQRS: read models of their own",
    "event_sourcing": "event sourcing",
    "streaming": "a stream of measurements: a streaming platform and a time-series database, not fait",
    "mixed": "different patterns for different modules",
}
"""The advisor's headlines in words."""

PATTERNS: Final[Mapping[str, Pattern]] = {
    "crud": Pattern(
        "Plain tables",
        "The current state answers every question that is asked.",
        "Event sourcing: a history that no reader needs would be kept readable at a cost.",
        "Past states become part of the questions, or the reason for each change becomes part of the record.",
        (
            Tradeoff(
                "None is added.",
                "The simplest code, and tools that every developer knows.",
                "Decide again when an audit, a second program or a past state is asked for.",
            ),
        ),
    ),
    "audit_table": Pattern(
        "Plain tables with a history table",
        "The current state is the source of truth, and a table lists who changed what and when.",
        "Event sourcing: the history is looked up, and no state is computed from it.",
        "Decisions depend on the history, or it must prove that nothing is missing.",
        (
            Tradeoff(
                "Each change writes a second row.",
                "Who changed what and when, without a new source of truth.",
                "Write it in the same transaction, in one place such as a trigger.",
            ),
        ),
    ),
    "event_sourcing": Pattern(
        "Event sourcing",
        "The history of events is the source of truth: decisions and every state are computed from it.",
        "A plain table with a history table: it is simpler, and its history can contradict the state.",
        "No reader asks for past states or the reasons of changes; or records are only created, edited and deleted.",
        (
            Tradeoff(
                "Every published version of an event must stay readable.",
                "A complete history, past states, and new read models over old events.",
                "Locks and upcasters, checked by `fait schema check` in continuous integration.",
            ),
            Tradeoff(
                "An event cannot be changed or deleted, also if it contains personal data.",
                "The history is evidence.",
                "Keep personal data in tables of the application, and only a reference in the event.",
            ),
            Tradeoff(
                "Long streams take longer to load.",
                "A decision sees all that happened before it.",
                "Short streams: close one and start the next; `snapshot_every` for the rest.",
            ),
            Tradeoff(
                "The team has to learn the pattern.",
                "Business rules are functions that are tested without a database.",
                "Begin with one module; leave simple records in plain tables.",
            ),
        ),
    ),
    "boundary": Pattern(
        "Event sourcing with a dynamic consistency boundary",
        "A rule concerns several entities, so the decision depends on all events that match a query.",
        "One stream for each entity: it cannot hold a rule that concerns several of them at the same time.",
        "The rule concerns a single entity, or may be violated for a short time and corrected afterwards.",
        (
            Tradeoff(
                "Concurrent decisions about the same entities are repeated.",
                "A rule over several streams holds at every moment.",
                "Narrow queries: tags of the entities that the rule concerns.",
            ),
        ),
    ),
    "outbox": Pattern(
        "Transactional outbox",
        "The state stays in tables, and an event is stored if, and only if, the transaction of the change commits.",
        "A message that is sent after the commit: a crash between the two loses it.",
        "A lost event does no harm, or the events become the source of truth.",
        (
            Tradeoff(
                "Consumers receive an event at least once: after a crash they receive some again.",
                "No event is lost, and none tells of a change that was rolled back.",
                "Idempotent consumers: `ctx.execute` in the transaction of the checkpoint, or the event's id as a key.",
            ),
            Tradeoff(
                "A worker has to run, and consumers lag behind the commit.",
                "The request does not wait for consumers, and works while they are down.",
                "`fait run` in several processes; `fait doctor` reports a subscription that lags or has stopped.",
            ),
        ),
    ),
    "log_as_outbox": Pattern(
        "The log as outbox",
        "Events are stored by the decision itself, and subscriptions deliver them from the log.",
        "An outbox of its own: a second copy of each event, in the same database.",
        "The events are no longer the source of truth, or a loss does no harm.",
        (
            Tradeoff(
                "Consumers receive an event at least once, and lag behind the log.",
                "No event is lost, and none tells of a decision that was not stored.",
                "Idempotent consumers; `fait doctor` reports a subscription that lags or has stopped.",
            ),
        ),
    ),
    "cdc": Pattern(
        "Change data capture",
        "The writing program cannot be changed, so the facts come from the database's own log, without fait.",
        "An outbox: it needs a change of the writing program.",
        "The writing program can be changed: then an outbox says what happened and not only which row changed.",
        (
            Tradeoff(
                "Readers depend on tables that are internal to another program.",
                "Nothing in that program changes.",
                "Translate rows into events in one place.",
            ),
        ),
    ),
    "async_messaging": Pattern(
        "Simple events",
        "Other programs are told after the commit, and a lost message does no harm.",
        "A direct call: the request would wait for each consumer, and fail with it.",
        "A message must not be lost: then use an outbox.",
        (
            Tradeoff(
                "A crash after the commit loses a message.",
                "Consumers are independent of the request.",
                "Use it only where a loss does no harm; otherwise an outbox.",
            ),
        ),
    ),
    "in_process": Pattern(
        "Calls in the same process",
        "Consumers run in the same process and share the transaction.",
        "Messages: nothing has to leave the process.",
        "A consumer moves to another process, or must not delay the request.",
        (
            Tradeoff(
                "A consumer that fails makes the request fail.",
                "All of it is in one transaction.",
                "Keep consumers short and without calls of other services.",
            ),
        ),
    ),
    "none": Pattern(
        "No integration",
        "No other code reacts to changes.",
        "Messages: they would have no reader.",
        "A second program has to react to changes.",
    ),
    "projections": Pattern(
        "CQRS with projections",
        "Reads are served from tables that are computed from events, with the columns that a query needs.",
        "Queries on the tables that are written: one shape serves all readers.",
        "One shape serves all readers, or every reader must see each write immediately.",
        (
            Tradeoff(
                "A read model lags behind the log.",
                "Reads are single-table queries, independent of the write side.",
                "`find(..., after=result)` waits until the caller's own write is in the table.",
            ),
            Tradeoff(
                "A changed definition requires a rebuild.",
                "A new question can be answered for the whole past.",
                "fait refuses rows of old and new code in one table; `fait rebuild` builds it again from the log.",
            ),
        ),
    ),
    "logical_cqrs": Pattern(
        "Separate queries on the same tables",
        "Reads and writes have code of their own and share the tables.",
        "Projections: tables of their own would have to be kept up to date.",
        "Reads differ from writes in load, or need another shape of the data.",
        (
            Tradeoff(
                "Two models of the same data in the code.",
                "Each of them is simple, and reads are never stale.",
                "Separate them only where they differ.",
            ),
        ),
    ),
    "same_model": Pattern(
        "One model for reads and writes",
        "The tables that are written serve the reads.",
        "CQRS: a second model would have the same content.",
        "Readers need several shapes of the data, or much more load than writers.",
    ),
    "reactors": Pattern(
        "Simple events: handlers as subscriptions",
        "Consequences of an event run after its commit, each in a subscription of its own.",
        "Calls in the request: it would wait for each consequence, and fail with it.",
        "A consequence must happen in the same transaction as the change.",
        (
            Tradeoff(
                "An event that fails delays the later events of its stream.",
                "Events are handled in order, and none is left out silently.",
                "One subscription for each consequence; a `FailurePolicy` for events that may be skipped.",
            ),
            Tradeoff(
                "A handler may run again for the same event after a crash.",
                "No event is lost.",
                "`ctx.execute` and events of the context take effect once; other services get the event's id as a key.",
            ),
        ),
    ),
    "published": Pattern(
        "Published events",
        "Other programs read events of this system.",
        "A shared table: every change of it would be a change of all programs.",
        "No other program reads the events.",
        (
            Tradeoff(
                "Published schemas are a contract with other programs.",
                "Those programs are developed and deployed independently.",
                "Declare them in `[[tool.fait.consumers]]`: `fait schema check` refuses what they cannot read.",
            ),
        ),
    ),
}
"""The patterns by key."""
