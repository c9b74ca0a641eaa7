"""Extension point for backends: the ports of a store and the values they exchange.

A backend implements `Store`: one small class for each port, all on one database. `Log` appends and reads events.
`Registrations`, `Leases`, `Failures` and `Recorder` run subscriptions, `Tables` reads the rows of read models, and
`SnapshotStore` saves folds. Applications do not need this module; they use `fait.App.open`.

To write a backend:

1. Implement these ports and `Store`. They are protocols, so no base class is needed. Reuse the pieces that every
   backend needs: `check_writes`, `check_size` (which `GroupCommit` calls), `is_expected`, `resolve_duplicate`,
   `GroupCommit`, `PositionSignal`, `fits_column`.
2. Subclass `Backend`, whose `open` returns the store. Declare an instance as an entry point of your package, named like
   the scheme of its URLs. `fait.App.open("mystore:...")`, `open_store` and the `fait` command then find it:

       [project.entry-points."fait.backends"]
       mystore = "mypackage.backend:backend"

3. Run the contract in `fait.testing.contract` against it. These tests define the guarantees: a backend that passes
   them can run any app.

The other methods of `Backend` are optional. `admin` returns a `StoreAdmin`, which manages migrations and adoption for
`fait db` and `fait log`; `fait verify-store` needs it and `sibling_url`; outboxes need `append_in_transaction`. The
findings of `Store.examine` are reported by `fait doctor`.

Raise `fait.StoreUnavailable` if the database cannot be reached, with `outcome="unknown"` if an append may have been
committed.
"""

from types import FunctionType
from typing import cast

from fait._affinity import Affinity, Bound
from fait._clock import Clock
from fait._decisions.snapshot import Snapshot, SnapshotStore
from fait._events.append import (
    MAX_APPEND_BYTES,
    MAX_APPEND_EVENTS,
    MAX_PAGE_BYTES,
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
    check_event_ids,
    check_limit,
    check_page,
    check_size,
    check_writes,
    count_characters,
)
from fait._events.envelope import EncodedEvent, EventSlice, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._events.stream import category_of, id_of
from fait._events.version import ANY, EXISTS, NO_STREAM, is_expected
from fait._store.adoption import Adoption, CarriedCheckpoint
from fait._store.backend import Backend, StoreAdmin
from fait._store.duplicate_append import resolve_duplicate
from fait._store.external_transaction import FindProtocol, Statement, StatementProtocol
from fait._store.group_commit import (
    LOCK_TIMEOUT,
    AppendOutcome,
    Flush,
    GroupCommit,
    LockTimeout,
    PendingAppend,
)
from fait._store.migrations import Migration, MigrationStatus
from fait._store.open import backend_names, open_admin
from fait._store.open import open_store as _open_unchecked
from fait._store.ports.column_values import fits_column
from fait._store.ports.failures import (
    MAX_ACTIONS,
    Action,
    FailureChange,
    FailureRequest,
    Failures,
    FailureState,
    KeyFailure,
)
from fait._store.ports.inbox import (
    MAX_FOLDED_MARKS,
    MAX_FORGOTTEN_IDS,
    MAX_POSITION_JUMP,
    MAX_TEXT_BYTES,
    FloorKey,
    Inbox,
    InboxChanges,
    InboxMessage,
    LaneOffset,
    MarkKey,
    MarkMove,
    MessageId,
    PositionJump,
    RemovedMessages,
    are_mark_moves_expected,
)
from fait._store.ports.leases import Lease, Leases, Range, RegisteredWorker, Worker
from fait._store.ports.log import Epoch, ExpireResult, Features, Identity, Log, OldestMessage, StreamInfo, epoch_of
from fait._store.ports.registrations import (
    SLOTS,
    Kind,
    RangeKey,
    Registration,
    Registrations,
    not_registered,
    slot_of,
    widened,
)
from fait._store.ports.store import PORTS, Finding, OpeningState, Store, read_opening_state
from fait._store.ports.tables import (
    Column,
    ColumnCondition,
    ColumnKind,
    Row,
    RowChange,
    SortOrder,
    Table,
    Tables,
    constraint_violation,
)
from fait._store.ports.unit_of_work import (
    MAX_PENDING,
    HandlerAppend,
    HandlerStatement,
    RangeMove,
    Recorder,
    RecordResult,
    UnitOfWork,
)
from fait._store.position_signal import PositionSignal
from fait._store.store_url import redacted_url

__all__ = [
    "ANY",
    "EVERYTHING",
    "EXISTS",
    "LOCK_TIMEOUT",
    "MAX_ACTIONS",
    "MAX_APPEND_BYTES",
    "MAX_APPEND_EVENTS",
    "MAX_FOLDED_MARKS",
    "MAX_FORGOTTEN_IDS",
    "MAX_PAGE_BYTES",
    "MAX_PENDING",
    "MAX_POSITION_JUMP",
    "MAX_TEXT_BYTES",
    "NO_STREAM",
    "PAGE_SIZE",
    "SLOTS",
    "Action",
    "Adoption",
    "AppendCondition",
    "AppendOutcome",
    "AppendResult",
    "Appended",
    "Backend",
    "CarriedCheckpoint",
    "Column",
    "ColumnCondition",
    "ColumnKind",
    "ConditionFailed",
    "EncodedEvent",
    "Epoch",
    "EventSlice",
    "ExpireResult",
    "FailureChange",
    "FailureRequest",
    "FailureState",
    "Failures",
    "Features",
    "FindProtocol",
    "Finding",
    "FloorKey",
    "Flush",
    "GroupCommit",
    "HandlerAppend",
    "HandlerStatement",
    "IdConflict",
    "Identity",
    "Inbox",
    "InboxChanges",
    "InboxMessage",
    "KeyFailure",
    "Kind",
    "LaneOffset",
    "Lease",
    "Leases",
    "LockTimeout",
    "Log",
    "MarkKey",
    "MarkMove",
    "MessageId",
    "Migration",
    "MigrationStatus",
    "OldestMessage",
    "OpeningState",
    "Page",
    "PendingAppend",
    "PositionJump",
    "PositionSignal",
    "Query",
    "Range",
    "RangeKey",
    "RangeMove",
    "RecordResult",
    "RecordedEvent",
    "Recorder",
    "RegisteredWorker",
    "Registration",
    "Registrations",
    "RemovedMessages",
    "Row",
    "RowChange",
    "Snapshot",
    "SnapshotStore",
    "SortOrder",
    "Statement",
    "StatementProtocol",
    "Store",
    "StoreAdmin",
    "StreamInfo",
    "StreamWrite",
    "Table",
    "Tables",
    "UnitOfWork",
    "Until",
    "VersionConflict",
    "Worker",
    "are_mark_moves_expected",
    "backend_names",
    "category_of",
    "check_event_ids",
    "check_limit",
    "check_page",
    "check_size",
    "check_writes",
    "constraint_violation",
    "count_characters",
    "epoch_of",
    "fits_column",
    "id_of",
    "is_expected",
    "not_registered",
    "open_admin",
    "open_store",
    "read_opening_state",
    "redacted_url",
    "resolve_duplicate",
    "slot_of",
    "widened",
]


async def open_store(url: str, *, clock: Clock | None = None, create: bool = True) -> Store:
    """Open a store. It belongs to the process and the event loop in which it is opened.

    Args:
        url: URL of the store; its scheme selects the backend.
        clock: the clock for `recorded_at`; None: the operating system's, or that of the server.
        create: whether to create the store if it does not exist.

    Returns:
        The store. Its methods, and those of its ports, raise `UsageError` in another process or event loop.

    Raises:
        UsageError: the URL is malformed, or no backend has its scheme.
        MissingExtra: the backend's driver is not installed.
        StoreUnavailable: the store cannot be opened. Nothing was written.
    """
    store = await _open_unchecked(url, clock=clock, create=create)
    return cast("Store", Bound(store, Affinity("store"), PORTS))


# Names that `fait` exports as well report `fait`, which has been imported before this module.
for _name in __all__:
    _exported: object = globals()[_name]
    if isinstance(_exported, type | FunctionType) and _exported.__module__.startswith("fait._"):
        _exported.__module__ = "fait.store"
