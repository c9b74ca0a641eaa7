"""Tables of the style check: banned words, names that were replaced, and classes that may share a name."""

from typing import NamedTuple

__all__ = ["BANNED", "RETIRED", "SLEEPS", "TWINS", "Retired"]

BANNED: dict[str, str] = {
    # Words for an unnamed subject.
    r"whoever|whomever": "name the subject",
    r"nobody|somebody|everybody|anybody": "name the subject",
    r"(?:those )?who (?:wait|ask|look|come|find|lose|append|read)s?": "name the subject",
    r"(?:those )?who (?:lost|found|waited|asked|looked|came|appended|has|is)": "name the subject",
    r"those who": "name the subject",
    # Archaic words and phrases.
    r"anew": "again",
    r"for ever": "forever",
    r"meanwhile": "while …, or in the meantime",
    r"beside": "next to, or besides",
    r"in hand": "say what holds it",
    r"at hand": "idle, or available",
    r"(?:make|makes|made|making) way": "release, or yield",
    r"(?:go|goes|went|gone) on": "continue",
    r"(?:come|comes|came|coming) too late": "late, or after …",
    r"signs? of life": "heartbeat",
    # American spelling.
    r"behaviours?": "behavior",
    r"recognis(?:e|es|ed|ing|able)": "recognize",
    r"(?:de)?serialis(?:e|es|ed|er|ing|ation)": "serialize",
    r"(?:re)?initialis(?:e|es|ed|ing|ation)": "initialize",
    r"normalis(?:e|es|ed|ing|ation)": "normalize",
    r"optimis(?:e|es|ed|ing|ation)": "optimize",
    r"organis(?:e|es|ed|ing|ation)": "organize",
    r"synchronis(?:e|es|ed|ing|ation)": "synchronize",
    r"honours?|honoured|favours?|colours?|neighbours?": "-or-",
}
"""Regular expression for whole words, in any case, and what to write instead; a space also matches a line break."""


class Retired(NamedTuple):
    """A name that was replaced.

    Attributes:
        where: pattern of paths below `src/fait`.
        old: `Name` a class or a constant, `name()` a function or a method, `Name.attribute` an attribute or a method of
            one class, `name.py` a module, `name` a column or parameter in SQL files.
        new: the name in its place.
    """

    where: str
    old: str
    new: str


RETIRED: list[Retired] = [
    Retired(where, old, new)
    for where, old, new in [
        # Events
        ("*", "StoredEvent", "RecordedEvent"),
        ("*", "Recorded", "Envelope"),
        ("*", "NewEvent", "EncodedEvent"),
        ("*", "Bare", "EventSlice"),
        ("*", "Write", "StreamWrite"),
        ("_store/*", "Verdict", "AppendResult"),
        ("*", "Shape", "ReadModelDefinition or TypeReport"),
        ("*", "Taken", "HandledTypes"),
        ("*", "Untyped.version", "schema_version"),
        ("_events/*", "raised()", "raise_on_conflict"),
        ("_events/*", "survey()", "inspect_types"),
        ("_events/*", "weaknesses()", "find_invalid"),
        ("_events/*", "explain()", "validate_slow"),
        ("_events/*", "prove()", "validate"),
        ("_events/*", "screen()", "precheck"),
        ("_events/*", "value.py", "validation.py"),
        ("_events/*", "schema.py", "type_inspection.py"),
        # Decisions
        ("*", "Caller", "Client"),
        ("_decisions/*", "Loop", "History"),
        ("*", "Facts", "NewEvents"),
        ("*", "Found", "QueryResult"),
        ("*", "Done", "WriteResult"),
        ("*", "Tagged", "DecidedEvent"),
        ("_decisions/*", "Policy", "SnapshotPolicy"),
        ("_decisions/*", "Model", "FoldDefinition"),
        ("*", "Keeper", "SnapshotStore"),
        ("*", "Kept", "LoadedSnapshot"),
        ("_decisions/*", "doubted()", "should_verify"),
        ("_decisions/*", "settled()", "append"),
        ("*", "Snapshot.fold", "fold_hash"),
        ("_decisions/*", "caller.py", "client.py"),
        ("_decisions/*", "facts.py", "new_events.py"),
        ("_decisions/*", "fingerprint.py", "definition_hash.py"),
        # Stores
        ("*", "Coalescer", "GroupCommit"),
        ("_store/*", "Request", "PendingAppend"),
        ("_store/*", "Line", "StreamQueue"),
        ("*", "Lanes", "SenderPool"),
        ("*", "BUSY", "LockTimeout"),
        ("*", "Doorbell", "PositionSignal"),
        ("*", "Watcher", "HighWaterMark"),
        ("*", "Recent", "TailCache"),
        ("*", "Announcer", "Notifier"),
        ("*", "Conversation", "StatementProtocol"),
        ("*", "Ask", "Statement"),
        ("*", "Work", "UnitOfWork"),
        ("*", "Patience", "Deadline"),
        ("*", "Checkpoint.shape", "definition_hash"),
        ("*", "Lease.beat", "heartbeat"),
        ("*", "Lease.fence", "fencing_token"),
        ("_store/*ledger.py", "take()", "acquire"),
        ("_store/*memory.py", "take()", "acquire"),
        ("_store/*ledger.py", "beat()", "heartbeat"),
        ("_store/*memory.py", "beat()", "heartbeat"),
        ("_store/*ledger.py", "give_back()", "release"),
        ("_store/*memory.py", "give_back()", "release"),
        ("_store/sqlite/*", "known()", "find_existing"),
        ("_store/*", "converse()", "run"),
        ("_store/*", "beside()", "sibling_url"),
        ("_store/*", "hear()", "notify"),
        ("_store/postgres/*", "tell()", "publish"),
        ("_store/*", "look()", "poll"),
        ("_store/*", "ring()", "advance"),
        ("_store/*", "beat", "heartbeat"),
        ("_store/*", "fence", "fencing_token"),
        ("_store/*", "shape", "definition_hash"),
        ("_store/*snapshot*", "fold", "fold_hash"),
        ("_store/*", "coalescer.py", "group_commit.py"),
        ("_store/*", "doorbell.py", "position_signal.py"),
        ("_store/*", "repetition.py", "duplicate_append.py"),
        ("_store/*", "joined.py", "external_transaction.py"),
        ("_store/postgres/*", "call.py", "append_protocol.py"),
        ("_store/postgres/*", "lanes.py", "sender_pool.py"),
        ("_store/postgres/*", "watcher.py", "high_water_mark.py"),
        ("_store/postgres/*", "recent.py", "tail_cache.py"),
        ("_store/postgres/*", "announcer.py", "notifier.py"),
        ("_store/postgres/*", "names.py", "identifiers.py"),
        ("_store/*", "schema.py", "admin.py"),
        ("_store/sqlite/*", "guard.py", "multi_driver_guard.py"),
        ("_store/sqlite/*", "moment.py", "timestamps.py"),
        ("_store/sqlite/*", "threads.py", "worker_threads.py"),
        ("_store/sqlite/*", "batch.py", "append_batch.py"),
        # Subscriptions
        ("*", "Desk", "ProcessingContext"),
        ("*", "MadeWay", "LeaseReleased"),
        ("*", "Reaction", "ReactorDefinition"),
        ("_subscriptions/*", "rest()", "back_off"),
        ("_subscriptions/*", "working()", "recovered"),
        ("*", "once_passed()", "wait_for_position"),
        ("_subscriptions/*", "passing.py", "read_your_writes.py"),
        ("_subscriptions/*", "calling.py", "handler_calls.py"),
        # Delivery
        ("*", "Letter", "OutboxEntry"),
        ("*", "Letters", "OutboxBuffer"),
        ("*", "Ring", "OnCommit"),
        ("_delivery/*", "marks.py", "placeholders.py"),
        ("_delivery/*", "problems.py", "driver_errors.py"),
        # Tools
        ("*", "looked_at()", "open_readonly"),
        ("*", "shown()", "redacted_url"),
        ("_tools/verify/*", "play()", "main"),
        ("_tools/verify/*", "judge.py", "checker.py"),
        ("_tools/verify/*", "plants.py", "fault_injection.py"),
        ("_tools/verify/*", "actor.py", "process.py"),
    ]
]

TWINS: set[str] = {
    "_ExistingEvent",  # the same row, as each SQL backend reads it
    "_Outbox",  # what each adapter adds to the outbox it extends
}
"""Private classes that have one meaning in several modules."""

SLEEPS: dict[str, str] = {
    "src/fait/testing/faults.py": "the delay is the fault that a user injects",
    "tests/brokers/test_kafka.py": "a server is killed while messages are on their way",
    "tests/brokers/test_rabbitmq.py": "no request shows that a new queue survives a kill",
    "tests/brokers/test_rabbitmq_start.py": "no request shows that a new queue survives a kill",
    "tests/brokers/test_servers.py": "a server is killed while messages are on their way",
    "tests/crash/": "processes work at their own pace, and are killed at random moments",
    "tests/delivery/": "processes work at their own pace, and are killed at random moments",
    "tests/faults/": "servers and networks that fall silent tell no client that they have",
    "tests/fleet/": "processes work at their own pace, and are killed at random moments",
    "tests/hostile/": "processes work at their own pace, and are killed at random moments",
    "tests/outbox/contract.py": "a transaction of a driver waits for a lock in a database",
    "tests/outbox/test_aiosqlite.py": "a transaction of a driver waits for a lock in a database",
    "tests/relay/published.py": "no request shows that a new queue survives a kill",
    "tests/store/test_postgres_connection.py": "a connection waits for an answer of the server",
    "tests/store/test_postgres_retention.py": "a statement waits for a lock in a database",
    "tests/store/test_postgres_schema.py": "a statement waits for a lock in a database",
    "tests/store/test_sqlite.py": "a thread waits for a lock, or runs a long statement",
    "tests/tools/": "commands are processes, and some show times",
}
"""Beginnings of the paths of tests that may sleep, and why no clock and no condition can replace that."""
