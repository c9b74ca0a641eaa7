"""Registrations as rows of `fait_subscriptions`, for the backends that run SQL: handled types are a JSON array."""

from collections.abc import Sequence
from typing import Any

import msgspec

from fait._store.ports.leases import Lease, Range
from fait._store.ports.registrations import RangeKey, Registration

__all__ = ["from_row", "lease_from_row", "range_from_row", "to_row", "types_from_json", "types_to_json"]


def to_row(registration: Registration) -> tuple[Any, ...]:
    """Return the values of a registration, in the order of its attributes."""
    first, types = msgspec.structs.astuple(registration), types_to_json(registration.handled_types)
    return (*first[:4], types, *first[5:])


def from_row(row: Any) -> Registration:
    """Return a registration from a row, which has the order of its attributes."""
    name, app, kind, definition_hash, types, log_id, epoch_id, generation, revision = row
    return Registration(
        name, app, kind, definition_hash, types_from_json(types), log_id, epoch_id, generation, revision
    )


def range_from_row(row: Any) -> Range:
    """Return a range from a row: the three columns of its key, then its other attributes."""
    return Range(RangeKey(*row[:3]), *row[3:])


def lease_from_row(key: RangeKey, worker: str, row: Any) -> Lease:
    """Return the lease of a range from a row: fencing token, position, revision and handled types."""
    fencing_token, position, revision, types = row
    return Lease(key, worker, fencing_token, position, revision, types_from_json(types))


def types_to_json(handled_types: Sequence[str]) -> str:
    """Return event types as a JSON array."""
    return msgspec.json.encode(handled_types).decode()


def types_from_json(text: str) -> tuple[str, ...]:
    """Return event types from a JSON array."""
    return msgspec.json.decode(text, type=tuple[str, ...])
