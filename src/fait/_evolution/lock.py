"""A lock: one version of an event type as it was published. It is kept in a file and never changes."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from fait._schema.description import Description

__all__ = ["Lock", "Locks", "encode_lock"]


class Lock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of an event type, as it was published.

    Attributes:
        type: stored name of the event type.
        version: its schema version.
        locked_on: the day on which the file was written, as `YYYY-MM-DD`.
        fingerprint: the fingerprint of `description`.
        reserved: paths of members that an earlier version had and this one has not, sorted. They must not come back
            with another meaning. A member inside another one that is reserved is not listed.
        replacements: why the file was replaced, if it was: for each time a line with the day, the fingerprint of the
            replaced lock and the reason, oldest first.
        description: the JSON of its events.
        json_schema: the same as JSON Schema (draft 2020-12), for readers in other languages.
        samples: events of this version as plain data, generated or written by hand.
    """

    type: str
    version: int
    locked_on: str
    fingerprint: str
    reserved: tuple[str, ...] = ()
    replacements: tuple[str, ...] = ()
    description: Description
    json_schema: dict[str, Any]
    samples: tuple[Any, ...] = ()


Locks = Mapping[str, Mapping[int, Lock]]
"""Locks by event type, then by version."""


def encode_lock(lock: Lock) -> bytes:
    """Return the content of a lock file: indented JSON, the same bytes for the same lock."""
    return msgspec.json.format(msgspec.json.encode(lock, order="deterministic"), indent=2) + b"\n"
