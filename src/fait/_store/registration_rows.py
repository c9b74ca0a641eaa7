"""Registrations, ranges and workers as rows, for the backends that run SQL. Lists and mappings are JSON texts."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import astuple, fields

from fait._store.ports.failures import KeyFailure
from fait._store.ports.leases import Lease, Range, RegisteredWorker, Worker
from fait._store.ports.registrations import RangeKey, Registration

__all__ = [
    "failure_from_row",
    "from_row",
    "lease_from_row",
    "range_from_row",
    "to_row",
    "types_from_json",
    "types_to_json",
    "worker_from_row",
    "worker_to_row",
]

_FAILURE_COLUMNS: Final = tuple(each.name for each in fields(KeyFailure))
_RUNS: Final = msgspec.json.Decoder(dict[str, str | None])
_CALLS: Final = msgspec.json.Decoder(dict[str, float])
_BACKLOGS: Final = msgspec.json.Decoder(dict[str, int])
_POSITIONS: Final = msgspec.json.Decoder(tuple[int, ...])


def to_row(registration: Registration) -> tuple[Any, ...]:
    """Return the values of a registration, in the order of its attributes."""
    first, types = astuple(registration), types_to_json(registration.handled_types)
    return (*first[:4], types, *first[5:])


def from_row(row: Any) -> Registration:
    """Return a registration from a row, which has the order of its attributes."""
    name, app, kind, definition_hash, types, log_id, epoch_id, generation, revision, paused = row
    return Registration(
        name, app, kind, definition_hash, types_from_json(types), log_id, epoch_id, generation, revision, bool(paused)
    )


def range_from_row(row: Any) -> Range:
    """Return a range from a row: the three columns of its key, then its other attributes."""
    return Range(RangeKey(*row[:3]), *row[3:])


def lease_from_row(key: RangeKey, worker: str, row: Any, failures: Sequence[KeyFailure]) -> Lease:
    """Return the lease of a range.

    Args:
        key: identifies the range.
        worker: id of its worker.
        row: low, high, fencing token, position, frontier and pending positions of the range, then revision and handled
            types.
        failures: the failures of the keys of the range.
    """
    _, high, fencing_token, position, frontier, pending, revision, types = row
    return Lease(
        key,
        worker,
        fencing_token,
        position,
        revision,
        types_from_json(types),
        high=high,
        frontier=frontier,
        pending=_POSITIONS.decode(pending),
        failures=tuple(failures),
    )


def worker_to_row(worker: Worker) -> tuple[Any, ...]:
    """Return the values of a worker, in the order of its attributes."""
    *first, runs, calls, backlogs = astuple(worker)
    return (*first, *(msgspec.json.encode(dict(each)).decode() for each in (runs, calls, backlogs)))


def worker_from_row(row: Any) -> RegisteredWorker:
    """Return a registered worker from a row: the attributes of the worker, heartbeat and time of registration."""
    id, app, host, pid, version, runs, calls, backlogs, heartbeat, started_at = row
    worker = Worker(id, app, host, pid, version, _RUNS.decode(runs), _CALLS.decode(calls), _BACKLOGS.decode(backlogs))
    return RegisteredWorker(worker, heartbeat, started_at)


def failure_from_row(row: Any) -> KeyFailure:
    """Return a failure from a row, which has the order of its attributes. Times may be text."""
    return msgspec.convert(dict(zip(_FAILURE_COLUMNS, row, strict=True)), KeyFailure)


def types_to_json(handled_types: Sequence[str]) -> str:
    """Return event types as a JSON array."""
    return msgspec.json.encode(handled_types).decode()


def types_from_json(text: str) -> tuple[str, ...]:
    """Return event types from a JSON array."""
    return msgspec.json.decode(text, type=tuple[str, ...])
