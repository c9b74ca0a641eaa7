"""A lock: one version of an event type as it was published. It is kept in a file and never changes."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fait._schema.compare import compare
from fait._schema.description import Description
from fait._schema.difference import Verdict

__all__ = ["Lock", "Locks", "checksum_of", "encode_lock"]


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
        reads_all: whether its class read all generated events as they were. Otherwise it has code that refuses or
            changes some, so not every event that the description allows was stored.
        checksum: a hash of everything else, in a file; empty in memory.
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
    reads_all: bool = False
    checksum: str = ""

    def differs_from(self, described: Description) -> bool:
        """Return whether a description is another one: its fingerprint, or the meaning of a name or a value in it."""
        # fault: moved-names-in-a-lock
        meanings = () if self.description == described else compare(self.description, described)
        return self.fingerprint != described.fingerprint or any(
            each.verdict is not Verdict.READABLE for each in meanings
        )


Locks = Mapping[str, Mapping[int, Lock]]
"""Locks by event type, then by version."""


def encode_lock(lock: Lock) -> bytes:
    """Return the content of a lock file: indented JSON, the same bytes for the same lock."""
    content = replace(lock, checksum=checksum_of(lock))
    return msgspec.json.format(msgspec.json.encode(content, order="deterministic"), indent=2) + b"\n"


def checksum_of(lock: Lock) -> str:
    """Return the hash of everything in a lock but its checksum."""
    return sha256(msgspec.json.encode(replace(lock, checksum=""), order="sorted")).hexdigest()[:16]
