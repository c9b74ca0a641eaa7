"""fait: event sourcing, CQRS and durable messaging. A fact is a thing done."""

from fait.app import App, Status, System
from fait.clock import Clock, ManualClock, SystemClock, new_id, now
from fait.decisions.aggregate import Aggregate, fold
from fait.decisions.boundary import Boundary, Found
from fait.decisions.decider import Decider
from fait.decisions.facts import Facts
from fait.decisions.transact import Done
from fait.errors import (
    AppendConditionFailed,
    CheckpointMismatch,
    DeclarationError,
    DuplicateEventId,
    EventFromTheFuture,
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
from fait.events.envelope import Metadata, Recorded, Untyped
from fait.events.event import describe, event, field, replace
from fait.events.query import Query
from fait.events.upcast import upcast
from fait.events.value import Json
from fait.subscriptions.failure import Retry
from fait.subscriptions.find import Rows, between, desc, ge, gt, le, lt, ne, one_of
from fait.subscriptions.reactor import Context
from fait.subscriptions.read_model import ReadModel
from fait.telemetry import caused_by

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
    "Done",
    "DuplicateEventId",
    "EventFromTheFuture",
    "Facts",
    "FaitError",
    "Found",
    "InvalidValue",
    "Json",
    "KeyReused",
    "LeaseLost",
    "ManualClock",
    "Metadata",
    "MissingExtra",
    "PositionExpired",
    "Query",
    "ReadModel",
    "ReadModelChanged",
    "Recorded",
    "Rejected",
    "Retry",
    "Rows",
    "Stale",
    "Status",
    "StoreTooNew",
    "StoreUnavailable",
    "SubscriptionsChanged",
    "System",
    "SystemClock",
    "UndecodableEvent",
    "UnknownEventType",
    "Untyped",
    "UsageError",
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
