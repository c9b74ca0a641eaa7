"""Event sourcing, CQRS and the transactional outbox on PostgreSQL and SQLite.

Everything that applications use is exported here. `fait.fastapi` serves an app over HTTP.
`fait.opentelemetry` reports its metrics and traces.
`fait.schema` describes event types and compares their versions.
`fait.store` is the extension point for other databases, `fait.broker` that for other brokers.
`fait.testing` has the tests that every backend and every broker must pass, and Hypothesis strategies.
"""

from types import FunctionType

from fait._app import App
from fait._broker_errors import (
    BrokerAhead,
    BrokerLostMessages,
    BrokerUnavailable,
    Fenced,
    MalformedMessage,
    MessageRefused,
    OffsetLost,
    TopologyMismatch,
)
from fait._clock import Clock, ManualClock, SystemClock, new_id, now
from fait._decisions.aggregate import Aggregate, fold
from fait._decisions.boundary import Boundary, QueryResult
from fait._decisions.calls import WriteResult
from fait._decisions.client import Client
from fait._decisions.decider import Decider
from fait._decisions.new_events import NewEvents
from fait._delivery.inbox.received_event import MappedMessage
from fait._delivery.outbox.outbox import AsyncOutbox, Outbox
from fait._delivery.wire.cloud_event import CloudEvent
from fait._delivery.wire.received import ReceivedMessage
from fait._errors import (
    AppendConditionFailed,
    CheckpointMismatch,
    DeclarationError,
    DefinitionChanged,
    DuplicateEventId,
    EventTooNew,
    FaitError,
    InvalidCursor,
    InvalidPosition,
    InvalidValue,
    KeyReused,
    MissingExtra,
    NotSettled,
    PositionExpired,
    ReadModelChanged,
    Rejected,
    Stale,
    StoreTooNew,
    StoreUnavailable,
    SubscriptionsChanged,
    Unavailable,
    UndecodableEvent,
    UnknownEventType,
    UnlockedEvents,
    UsageError,
    WrongExpectedVersion,
)
from fait._events.append import Until
from fait._events.changes import Defaulted, Dropped, Renamed, defaulted, dropped, renamed
from fait._events.envelope import CommandRecord, Envelope, Metadata, RecordedEvent, Untyped
from fait._events.event import describe, event, field, replace
from fait._events.query import Query
from fait._events.upcast import Downcaster, Upcaster, downcast, drop_event, upcast
from fait._events.validation import Json
from fait._events.version import Expected
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.find import Comparison, Descending, Rows, between, desc, ge, gt, le, lt, ne, one_of
from fait._subscriptions.reactor import Context
from fait._subscriptions.read_model import ReadModel
from fait._system import SubscriptionStatus, System
from fait._telemetry import Attributes, Origin, Telemetry, caused_by

__all__ = [
    "Aggregate",
    "App",
    "AppendConditionFailed",
    "AsyncOutbox",
    "Attributes",
    "Boundary",
    "BrokerAhead",
    "BrokerLostMessages",
    "BrokerUnavailable",
    "CheckpointMismatch",
    "Client",
    "Clock",
    "CloudEvent",
    "CommandRecord",
    "Comparison",
    "Context",
    "Decider",
    "DeclarationError",
    "Defaulted",
    "DefinitionChanged",
    "Descending",
    "Downcaster",
    "Dropped",
    "DuplicateEventId",
    "Envelope",
    "EventTooNew",
    "Expected",
    "FailurePolicy",
    "FaitError",
    "Fenced",
    "InvalidCursor",
    "InvalidPosition",
    "InvalidValue",
    "Json",
    "KeyReused",
    "MalformedMessage",
    "ManualClock",
    "MappedMessage",
    "MessageRefused",
    "Metadata",
    "MissingExtra",
    "NewEvents",
    "NotSettled",
    "OffsetLost",
    "Origin",
    "Outbox",
    "PositionExpired",
    "Query",
    "QueryResult",
    "ReadModel",
    "ReadModelChanged",
    "ReceivedMessage",
    "RecordedEvent",
    "Rejected",
    "Renamed",
    "Rows",
    "Stale",
    "StoreTooNew",
    "StoreUnavailable",
    "SubscriptionStatus",
    "SubscriptionsChanged",
    "System",
    "SystemClock",
    "Telemetry",
    "TopologyMismatch",
    "Unavailable",
    "UndecodableEvent",
    "UnknownEventType",
    "UnlockedEvents",
    "Until",
    "Untyped",
    "Upcaster",
    "UsageError",
    "WriteResult",
    "WrongExpectedVersion",
    "between",
    "caused_by",
    "defaulted",
    "desc",
    "describe",
    "downcast",
    "drop_event",
    "dropped",
    "event",
    "field",
    "fold",
    "ge",
    "gt",
    "le",
    "lt",
    "ne",
    "new_id",
    "now",
    "one_of",
    "renamed",
    "replace",
    "upcast",
]

# Classes and functions report the module that applications import them from, in `repr`, tracebacks and pickles.
for _name in __all__:
    _exported: object = globals()[_name]
    if isinstance(_exported, type | FunctionType) and _exported.__module__.startswith("fait."):
        _exported.__module__ = "fait"
