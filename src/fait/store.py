"""Extension point for backends: the ports of a store and the values they exchange.

A backend implements `Store`: a `Log` (append and read events) and a `Ledger` (read-model rows, checkpoints, leases,
snapshots), both in one database. Applications do not need this module; they use `fait.App.open`.

To write a backend:

1. Implement `Log`, `Ledger` and `Store`. They are protocols, so no base class is needed. Reuse the pieces that every
   backend needs: `check_writes`, `is_expected`, `resolve_duplicate`, `GroupCommit`, `PositionSignal`, `fits_column`.
2. Register a function for its URL scheme: `BACKENDS["mystore"] = open_mystore`. `fait.App.open("mystore:...")` and
   `open_store` call it with the URL, the clock, and whether to create a missing store.
3. Run the contract in `fait.testing.contract` against it. These tests define the guarantees: a backend that passes
   them can run any app.

A `StoreAdmin` manages migrations and adoption for the command-line tools; it is optional. `open_admin` knows only the
backends of fait.

Raise `fait.StoreUnavailable` if the database cannot be reached, with `outcome="unknown"` if an append may have been
committed, and `fait.LeaseLost` from `Ledger.record` if the lease or the checkpoint is not the expected one.
"""

from types import FunctionType

from fait._decisions.snapshot import Snapshot
from fait._events.append import (
    MAX_APPEND_EVENTS,
    PAGE_SIZE,
    AppendCondition,
    Appended,
    AppendResult,
    ConditionFailed,
    IdConflict,
    Page,
    StreamWrite,
    Until,
    VersionConflict,
    check_limit,
    check_writes,
)
from fait._events.envelope import EncodedEvent, EventSlice, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._events.stream import category_of, id_of
from fait._events.version import ANY, EXISTS, NO_STREAM, is_expected
from fait._store.adoption import Adoption, CarriedCheckpoint
from fait._store.duplicate_append import resolve_duplicate
from fait._store.group_commit import (
    LOCK_TIMEOUT,
    AppendOutcome,
    Flush,
    GroupCommit,
    LockTimeout,
    PendingAppend,
)
from fait._store.health import Finding
from fait._store.ledger import (
    Checkpoint,
    Column,
    ColumnCondition,
    ColumnKind,
    HandlerStatement,
    Lease,
    Ledger,
    Row,
    RowChange,
    SortOrder,
    Table,
    UnitOfWork,
    constraint_violation,
    fits_column,
)
from fait._store.log import ExpireResult, Features, Identity, Log, OldestMessage, StreamInfo
from fait._store.migrations import Migration, MigrationStatus
from fait._store.open import BACKENDS, Store, StoreAdmin, open_admin, open_store
from fait._store.position_signal import PositionSignal

__all__ = [
    "ANY",
    "BACKENDS",
    "EVERYTHING",
    "EXISTS",
    "LOCK_TIMEOUT",
    "MAX_APPEND_EVENTS",
    "NO_STREAM",
    "PAGE_SIZE",
    "Adoption",
    "AppendCondition",
    "AppendOutcome",
    "AppendResult",
    "Appended",
    "CarriedCheckpoint",
    "Checkpoint",
    "Column",
    "ColumnCondition",
    "ColumnKind",
    "ConditionFailed",
    "EncodedEvent",
    "EventSlice",
    "ExpireResult",
    "Features",
    "Finding",
    "Flush",
    "GroupCommit",
    "HandlerStatement",
    "IdConflict",
    "Identity",
    "Lease",
    "Ledger",
    "LockTimeout",
    "Log",
    "Migration",
    "MigrationStatus",
    "OldestMessage",
    "Page",
    "PendingAppend",
    "PositionSignal",
    "Query",
    "RecordedEvent",
    "Row",
    "RowChange",
    "Snapshot",
    "SortOrder",
    "Store",
    "StoreAdmin",
    "StreamInfo",
    "StreamWrite",
    "Table",
    "UnitOfWork",
    "Until",
    "VersionConflict",
    "category_of",
    "check_limit",
    "check_writes",
    "constraint_violation",
    "fits_column",
    "id_of",
    "is_expected",
    "open_admin",
    "open_store",
    "resolve_duplicate",
]

# Names that `fait` exports as well report `fait`, which has been imported before this module.
for _name in __all__:
    _exported: object = globals()[_name]
    if isinstance(_exported, type | FunctionType) and _exported.__module__.startswith("fait._"):
        _exported.__module__ = "fait.store"
