"""fait: event sourcing, CQRS and durable messaging. A fact is a thing done."""

from fait._app import App, SubscriptionStatus, System
from fait._clock import Clock, ManualClock, SystemClock, new_id, now
from fait._decisions.aggregate import Aggregate, fold
from fait._decisions.boundary import Boundary, QueryResult
from fait._decisions.decider import Decider
from fait._decisions.new_events import NewEvents
from fait._decisions.transact import WriteResult
from fait._errors import (
    AppendConditionFailed,
    CheckpointMismatch,
    DeclarationError,
    DuplicateEventId,
    EventTooNew,
    FaitError,
    InvalidValue,
    KeyReused,
    LeaseLost,
    MissingExtra,
    PositionExpired,
    ReadModelChanged,
    Rejected,
    Stale,
    StoreTooNew,
    StoreUnavailable,
    SubscriptionsChanged,
    UndecodableEvent,
    UnknownEventType,
    UsageError,
    WrongExpectedVersion,
)
from fait._events.envelope import Envelope, Metadata, Untyped
from fait._events.event import describe, event, field, replace
from fait._events.query import Query
from fait._events.upcast import upcast
from fait._events.validation import Json
from fait._subscriptions.failure import Retry
from fait._subscriptions.find import Rows, between, desc, ge, gt, le, lt, ne, one_of
from fait._subscriptions.reactor import Context
from fait._subscriptions.read_model import ReadModel
from fait._telemetry import caused_by

__all__ = [
    "Aggregate",
    "App",
    "AppendConditionFailed",
    "Boundary",
    "CheckpointMismatch",
    "Clock",
    "Context",
    "Decider",
    "DeclarationError",
    "DuplicateEventId",
    "Envelope",
    "EventTooNew",
    "FaitError",
    "InvalidValue",
    "Json",
    "KeyReused",
    "LeaseLost",
    "ManualClock",
    "Metadata",
    "MissingExtra",
    "NewEvents",
    "PositionExpired",
    "Query",
    "QueryResult",
    "ReadModel",
    "ReadModelChanged",
    "Rejected",
    "Retry",
    "Rows",
    "Stale",
    "StoreTooNew",
    "StoreUnavailable",
    "SubscriptionStatus",
    "SubscriptionsChanged",
    "System",
    "SystemClock",
    "UndecodableEvent",
    "UnknownEventType",
    "Untyped",
    "UsageError",
    "WriteResult",
    "WrongExpectedVersion",
    "between",
    "caused_by",
    "desc",
    "describe",
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
    "replace",
    "upcast",
]
