"""Measures the check of event types with proofs: event types with several versions, each with an upcaster.

    check.py [TYPES VERSIONS] -> JSON with the CPU seconds of each part, in one thread of a fresh process

The event classes are declared before the measurement ends: an app pays for that too. Every version has eleven fields,
among them a nested record, a list of records, a union, an enum and a decimal.
"""

import json
import sys
import time

STARTED = time.process_time()

import enum  # noqa: E402
from datetime import datetime  # noqa: E402
from decimal import Decimal  # noqa: E402
from typing import Any  # noqa: E402
from uuid import UUID  # noqa: E402

import fait  # noqa: E402
from fait._events.registry import Registry, build_registry  # noqa: E402
from fait._events.upcast import Upcaster  # noqa: E402
from fait._evolution.check.check_types import check_types  # noqa: E402
from fait._evolution.locks.lock import Lock, Locks  # noqa: E402
from fait.schema import describe, samples  # noqa: E402

__all__ = ["main"]

import msgspec  # noqa: E402


class Money(msgspec.Struct, frozen=True):
    amount: Decimal
    currency: str = "EUR"


class Line(msgspec.Struct, frozen=True):
    sku: str
    quantity: int
    price: Money


class Card(msgspec.Struct, frozen=True, tag="card"):
    number: str


class Invoice(msgspec.Struct, frozen=True, tag="invoice"):
    due: datetime


class State(enum.Enum):
    OPEN = "open"
    PAID = "paid"


def event_class(name: str, version: int) -> type:
    """Return an event class whose field `field_N` has the number of its version."""
    annotations: dict[str, Any] = {
        "order_id": UUID,
        "customer": str,
        "lines": list[Line],
        "total": Money,
        "payment": Card | Invoice,
        "state": State,
        "placed_at": datetime,
        "tags": list[str],
        "rating": float,
        f"field_{version}": int,
        "note": str | None,
    }
    namespace = {"__annotations__": annotations, "__module__": __name__, "note": None}
    return fait.event(name, version=version, kw_only=True)(type("Event", (), namespace))


def upcaster(name: str, version: int) -> Upcaster:
    """Return an upcaster: declared changes for odd versions, a function for even ones."""
    old, new = f"field_{version}", f"field_{version + 1}"
    if version % 2:
        return fait.upcast(name, version, fait.renamed(old, new))

    @fait.upcast(name, version)
    def function(data: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in data.items() if key != old}
        return {**kept, new: data[old]}

    return function


def lock_of(cls: type, name: str, version: int) -> Lock:
    """Return a lock with two samples."""
    described = describe(cls)
    return Lock(
        type=name,
        version=version,
        locked_on="2026-01-01",
        fingerprint=described.fingerprint,
        description=described,
        json_schema={},
        samples=tuple(samples(described, 1, count=2)),
    )


def locks_as_json(types: int, versions: int) -> bytes:
    """Return the locks of all types; this is not measured."""
    locks = {
        name: {version: lock_of(event_class(name, version), name, version) for version in range(1, versions + 1)}
        for name in (f"bench.type-{number}" for number in range(types))
    }
    return msgspec.json.encode(locks)


def declare(types: int, versions: int) -> Registry:
    """Declare the current classes and the upcasters."""
    names = [f"bench.type-{number}" for number in range(types)]
    classes = [event_class(name, versions) for name in names]
    return build_registry(classes, (upcaster(name, version) for name in names for version in range(1, versions)))


def main() -> None:
    """Print the CPU seconds of each part as JSON."""
    types, versions = [*map(int, sys.argv[1:]), 500, 4][:2] if len(sys.argv) > 2 else (500, 4)
    imported = time.process_time()
    text = locks_as_json(types, versions)
    began = time.process_time()
    locks: Locks = msgspec.json.decode(text, type=dict[str, dict[int, Lock]])
    decoded = time.process_time()
    registry = declare(types, versions)
    declared = time.process_time()
    found = check_types(registry, locks)
    checked = time.process_time()
    assert found == [], found[0]
    parts = {
        "import": imported - STARTED,
        "decode locks": decoded - began,
        "declare": declared - decoded,
        "check": checked - declared,
    }
    print(json.dumps({name: round(seconds, 2) for name, seconds in {**parts, "total": sum(parts.values())}.items()}))


if __name__ == "__main__":
    main()
