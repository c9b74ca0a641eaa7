"""The options and the result of a client's calls."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from msgspec import Struct

from fait._arguments import check_integer, check_items, check_type
from fait._errors import UsageError
from fait._events.append import AppendResult, StreamWrite, raise_on_conflict
from fait._events.version import Expected, expected_number

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    R_co = DefaultTypeVar("R_co", covariant=True, default=Any)
else:
    R_co = TypeVar("R_co", covariant=True)

__all__ = ["DEFAULT_ATTEMPTS", "Options", "WriteResult", "write_result"]

R = TypeVar("R")

DEFAULT_ATTEMPTS: Final = 32
"""Default maximum number of times a decision is made before a conflict becomes an error."""


_NO_ENTRIES: Final[Mapping[str, Any]] = MappingProxyType({})


class Options(Struct, frozen=True, kw_only=True):
    """Options of a client's calls, set by `using`.

    Attributes:
        key: idempotency key; see `Intention`.
        scope: scope of the key.
        expected: the stream's expected version; a conflict is then an error immediately.
        attempts: maximum number of times a decision is made when appends conflict.
        extra: further entries of the events' metadata.

    Raises:
        UsageError: `attempts` is not an integer of at least 1, `expected` is no version, `key` is no text or empty,
            `scope` is set without a key, or `extra` is no mapping with names of type str.
    """

    key: str | None = None
    scope: str = ""
    expected: Expected | None = None
    attempts: int = DEFAULT_ATTEMPTS
    extra: Mapping[str, Any] = _NO_ENTRIES

    def __post_init__(self) -> None:
        check_integer("attempts", self.attempts, 1)
        if self.extra is not _NO_ENTRIES:
            check_type("extra=", self.extra, Mapping, "a mapping of names to JSON values")
            check_items("the names of extra=", self.extra, str, "of type str")
        if self.expected is not None:
            expected_number(self.expected)
        if self.key is not None:
            _check_key(self.key, self.scope)
        # fault: scope-without-key
        if self.key is None and self.scope != "":
            raise UsageError("scope= is the scope of an idempotency key: pass key= with it. Nothing was written.")


def _check_key(key: object, scope: object) -> None:
    if not isinstance(key, str) or not isinstance(scope, str):
        kind = type(scope if isinstance(key, str) else key).__name__
        raise UsageError(f"an idempotency key and its scope must be a str, not {kind}. Nothing was written.")
    if not key:
        raise UsageError("the idempotency key must not be empty. Nothing was written.")


class WriteResult(Struct, Generic[R_co], frozen=True):
    """The result of a decision or an append. Pass it as `after=` to read your own write.

    Attributes:
        value: the command's return value; the events of a decider; the `NewEvents` of a boundary; None for `publish`
            and `append`.
        stream: the stream of the events; the first one if there are several. "" if a boundary decided no events.
        version: the version of that stream after the append; 0 if a boundary decided no events.
        position: position of the last event that was appended. If nothing was appended: of the last event that the
            decision is based on. The positions of earlier events of the append are lower, but not contiguous. In a
            handler, of events that are not stored before it returns: provisional, above the positions of all stored
            events.
        repeated: True if an earlier call with the same key, or the same `id=`, stored the events; this call wrote
            nothing. It is also True if this call's own append was stored, its connection was lost and the append was
            sent again: the two cases cannot be told apart. Without a key and an id it is always False.
        attempts: number of times the decision was made; more than 1 if appends conflicted.
        events: number of the events that were appended, in all streams; 0 if nothing was appended.
    """

    value: R_co
    stream: str
    version: int
    position: int
    repeated: bool = False
    attempts: int = 1
    events: int = 0


def write_result(
    value: R, writes: Sequence[StreamWrite], append_result: AppendResult, attempts: int = 1
) -> WriteResult[R]:
    """Return the result of a successful append; raise the exception of a conflict."""
    stored = raise_on_conflict(append_result)
    events = sum(len(each.events) for each in writes)
    return WriteResult(value, writes[0].stream, stored.versions[0], stored.position, stored.repeated, attempts, events)
