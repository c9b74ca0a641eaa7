"""Idempotency keys: an intention takes effect once, however often a caller repeats the call.

    ids of the events = hash(scope, key, index)

The ids of an intention's events are derived from its key. So a repeated call appends the same event ids, and the log
recognizes the append. A key is valid within a scope: a stream, a boundary, or the streams of an outbox. Every entrance
that writes (`transact`, `decide`, `publish`, `append`, the outbox) states its `Intention` and takes event ids and
metadata from it; all but the outbox, which appends in another transaction, append through `append`.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, islice
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from fait._clock import new_id
from fait._decisions.calls import Options, WriteResult
from fait._decisions.log import DecisionLog
from fait._errors import InvalidValue, KeyReused, StoreUnavailable, UsageError
from fait._events.append import AppendCondition, Appended, AppendResult, StreamWrite
from fait._events.codec import check_event_id, encode_metadata
from fait._events.envelope import CommandRecord, Metadata, RecordedEvent
from fait._telemetry import NO_ORIGIN, origin

__all__ = ["Intention", "append", "find_repeated"]

_Command = tuple[str, Mapping[str, Any]]
"""Name and arguments of a command."""

R = TypeVar("R")


class Intention:
    """What one call of a client is meant to store: once, if it has a key or an event id.

    Args:
        scope: where the key is valid: the name of a stream or of a boundary, or "outbox/" and a stream.
        options: the options of the call, with its key.
        command: name and arguments of the command that decides the events; None if the caller passes them.
        event_id: id of the only event, chosen by the caller; it takes precedence over the key.

    Attributes:
        options: the options of the call.
        command: the command that decides the events; None if the caller passes them.
        metadata: metadata of the events, as JSON text.
        has_new_ids: whether the event ids are generated for this call, so that no earlier call can have stored them.
    """

    def __init__(
        self, scope: str, options: Options, command: _Command | None = None, event_id: str | None = None
    ) -> None:
        self.options = options
        self.command = None if command is None else _command_record(*command)
        self.has_new_ids = options.key is None and event_id is None
        self._command = command
        self._scope = scope
        self._event_id = None if event_id is None else check_event_id(event_id)
        self.metadata = _metadata_of(options, self.command)

    def event_ids(self) -> Iterator[str]:
        """Return the event ids in order; with a key or an event id, each time the same ones."""
        if self._event_id is not None:
            return iter((self._event_id,))
        if self.options.key is None:
            return iter(new_id, "")
        return map(partial(_event_id_for_key, self._scope, self.options.key), count())

    def check_unchanged(self) -> None:
        """Check, before another attempt, that the decision has not changed the arguments of the command.

        Raises:
            UsageError: it has; another attempt would decide on other arguments than the first.
        """
        # fault: changed-arguments-used-again
        if self._command is not None and _command_record(*self._command) != self.command:
            raise UsageError(
                f"the command {self._command[0]} changed its arguments, so it cannot run again after a conflict. "
                "Nothing was written: let it change a copy of them."
            )


def _command_record(name: str, arguments: Mapping[str, Any]) -> CommandRecord:
    """Return a command as recorded in the metadata of its events.

    Raises:
        InvalidValue: JSON cannot represent an argument, or it can be read only once.
    """
    try:
        return CommandRecord(name, msgspec.Raw(msgspec.json.encode(arguments, enc_hook=_encode_argument)))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = f"JSON cannot represent it ({type(error).__name__})"
        raise InvalidValue("a command's arguments", "$", reason) from None


async def append(
    log: DecisionLog, intention: Intention, writes: Sequence[StreamWrite], condition: AppendCondition | None = None
) -> AppendResult:
    """Append, and retry once if the outcome is unknown. The retry has the same event ids, so it writes nothing twice.

    Args:
        log: the log.
        intention: the intention that the event ids are from. If they are new, no earlier call can have stored them, and
            a result marked as repeated is this call's own first attempt.
        writes: the events of each stream.
        condition: the append condition.
    """
    try:
        result = await log.append(writes, condition)
    except StoreUnavailable as error:
        # fault: unknown-outcome-raised
        if error.outcome == "not_written":
            raise
        result = await _append_again(log, writes, condition)
    if isinstance(result, Appended) and result.repeated and intention.has_new_ids:
        return Appended(result.position, result.versions)
    return result


async def _append_again(
    log: DecisionLog, writes: Sequence[StreamWrite], condition: AppendCondition | None
) -> AppendResult:
    """Append after an unknown outcome. It stays unknown if the store is unavailable: the first append may be stored."""
    try:
        return await log.append(writes, condition)
    except StoreUnavailable as error:
        # fault: outcome-forgotten-by-repetition
        raise StoreUnavailable(error.reason, "unknown") from error


async def find_repeated(
    log: DecisionLog, intention: Intention, decide_again: Callable[[RecordedEvent], Awaitable[tuple[R, int]]]
) -> WriteResult[R] | None:
    """Return the stored result of a decision under an idempotency key, or None if the key is new.

    Args:
        log: the log.
        intention: an intention with a key and a command.
        decide_again: takes the first stored event, repeats the decision on the events and at the time of the first
            call, and returns its value, which is not stored, and the number of its events.

    Raises:
        KeyReused: the key was used for another command, for one with other arguments, or for an append.
    """
    first = next(iter(await log.find(_first_ids(intention, 1))), None)
    if first is None:
        return None
    # fault: key-reuse-unchecked
    _check_key_reuse(first, intention)
    value, events = await decide_again(first)
    stored = await log.find(_first_ids(intention, max(1, events)))
    version = max(event.version for event in stored if event.stream == first.stream)
    return WriteResult(value, first.stream, version, stored[-1].position, repeated=True)


def _first_ids(intention: Intention, number: int) -> list[str]:
    return list(islice(intention.event_ids(), number))


def _check_key_reuse(stored: RecordedEvent, intention: Intention) -> None:
    """Raise `KeyReused` if the key's event was stored by another command, or with other arguments."""
    key, command = intention.options.key, intention.command
    assert key is not None
    assert command is not None
    first = msgspec.json.decode(stored.metadata, type=Metadata).command
    if first is None:
        raise KeyReused(key, stored.stream, "an append")
    if first.name != command.name:
        raise KeyReused(key, stored.stream, first.name)
    if bytes(first.arguments) != bytes(command.arguments):
        raise KeyReused(key, stored.stream, f"{first.name} with other arguments")


def _event_id_for_key(scope: str, key: str, index: int) -> str:
    """Return the id of the n-th event appended under a key, from 0: a UUIDv8 made from a hash."""
    import hashlib  # here, as it is slow to import and only keys need it

    digest = hashlib.sha256(f"{scope}\0{key}\0{index}".encode()).digest()
    number = int.from_bytes(digest[:16], "big") & ~(0xF << 76) & ~(0x3 << 62) | (8 << 76) | (2 << 62)
    return str(UUID(int=number))


def _metadata_of(options: Options, command: CommandRecord | None) -> str:
    """Return the metadata of a call's events as JSON text."""
    current = origin()
    if command is None and current is NO_ORIGIN and options.key is None and not options.extra:
        return "{}"
    return encode_metadata(
        Metadata(
            correlation_id=current.correlation_id,
            causation_id=current.causation_id,
            actor=current.actor,
            traceparent=current.traceparent,
            command=command,
            key=options.key,
            extra=dict(options.extra),
        )
    )


def _encode_argument(value: object) -> Any:
    """Encode an argument that msgspec does not support: by its attributes, or by the name of its type."""
    name = type(value).__qualname__
    # fault: arguments-read-once
    if isinstance(value, Iterator):
        reason = f"a {name} can be read only once, but the command may run again: pass a list"
        raise InvalidValue("a command's arguments", "$", reason)
    return getattr(value, "__dict__", None) or f"<{name}>"
