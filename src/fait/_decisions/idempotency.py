"""Idempotency keys: an intention takes effect once, however often a caller repeats the call.

    ids of the events = hash(scope, key, index)

The ids of an intention's events are derived from its key. So a repeated call appends the same event ids, and the log
recognizes the append. A key names one intention in the whole log, or in the scope that a caller gives: the same again
is answered with the stored result, anything else under the key is refused. Every entrance that writes (`transact`,
`decide`, `publish`, `append`, the outbox) states its `Intention` and takes event ids and metadata from it.

A decision is the same if its command, its arguments and its stream are the same; an append, if its events are. A
decision without events stores one event in their place, `NOTHING_DECIDED`, so that its key is remembered too.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import count, islice
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from fait._clock import new_id
from fait._decisions.calls import Options, WriteResult
from fait._decisions.log import DecisionLog
from fait._errors import InvalidValue, KeyReused, StoreUnavailable, UsageError
from fait._events.append import AppendCondition, Appended, AppendResult, ConditionFailed, IdConflict, StreamWrite
from fait._events.codec import check_event_id, encode_metadata
from fait._events.envelope import CommandRecord, EncodedEvent, Metadata, RecordedEvent
from fait._events.event import NOTHING_DECIDED
from fait._events.json_equality import same_value
from fait._events.version import ANY
from fait._telemetry import NO_ORIGIN, origin

__all__ = ["Basis", "Intention", "append", "check_key", "find_repeated", "is_duplicate"]

_Command = tuple[str, Mapping[str, Any]]
"""Name and arguments of a command."""

R = TypeVar("R")


class Intention:
    """What one call of a client is meant to store: once, if it has a key or an event id.

    Args:
        options: the options of the call, with its key.
        command: name and arguments of the command that decides the events; None if the caller passes them.
        stream: the stream that the command is for; "" if it is for a boundary.
        event_id: id of the only event, chosen by the caller.

    Attributes:
        options: the options of the call.
        stream: the stream that the command is for; "" if there is none.
        metadata: metadata of the events, as JSON text.
        has_new_ids: whether the event ids are generated for this call, so that no earlier call can have stored them.

    Raises:
        UsageError: there are both a key and an event id.
        InvalidValue: the event id is not a UUID, or the command's arguments or the metadata cannot be stored.
    """

    def __init__(
        self, options: Options, command: _Command | None = None, *, stream: str = "", event_id: str | None = None
    ) -> None:
        if options.key is not None and event_id is not None:
            raise UsageError("id= and an idempotency key both name the intention: pass one. Nothing was written.")
        self.options = options
        self.stream = stream
        self.command = None if command is None else self._record(*command)
        self.has_new_ids = options.key is None and event_id is None
        self._command = command
        self._event_id = None if event_id is None else check_event_id(event_id)
        self.metadata = _metadata_of(options, self.command)

    def event_ids(self) -> Iterator[str]:
        """Return the event ids in order; with a key or an event id, each time the same ones."""
        if self._event_id is not None:
            return iter((self._event_id,))
        if self.options.key is None:
            return iter(new_id, "")
        # fault: key-scoped-by-stream
        return map(partial(_event_id_for_key, self.options.scope, self.options.key), count())

    def first_ids(self, number: int) -> list[str]:
        """Return the first event ids."""
        return list(islice(self.event_ids(), number))

    def check_unchanged(self) -> None:
        """Check, before another attempt, that the decision has not changed the arguments of the command.

        Raises:
            UsageError: it has; another attempt would decide on other arguments than the first.
        """
        # fault: changed-arguments-used-again
        if self._command is not None and self._record(*self._command) != self.command:
            raise UsageError(
                f"the command {self._command[0]} changed its arguments, so it cannot run again after a conflict. "
                "Nothing was written: let it change a copy of them."
            )

    def check_same_command(self, stored: RecordedEvent) -> "Basis":
        """Check that the command is the one that stored the first event under the key, and return its basis.

        Raises:
            KeyReused: the event is of an append, or of another command, other arguments or another stream.
        """
        original = _command_of(stored.metadata)
        basis = _basis_of(stored)
        # fault: key-reuse-unchecked
        if (difference := self._difference(original, basis)) is not None:
            raise self._key_reused(basis.stream or stored.stream, difference)
        return basis

    def check_same_append(self, result: AppendResult, number: int, stored: Sequence[tuple[str, str]]) -> None:
        """Check that the append is the one that stored the events under the key.

        Args:
            result: the append result.
            number: number of its events.
            stored: stream and metadata of the stored events among the first `number` + 1 ids of the key.

        Raises:
            KeyReused: the events are of a command, or of an append of other or of more events.
        """
        for stream, metadata in stored[:1]:
            original = _command_of(metadata)
            # fault: key-of-more-events-accepted
            if isinstance(result, IdConflict) or original is not None or len(stored) > number:
                raise self._key_reused(stream, original.name if original else "another append")

    def nothing_decided(self, basis: "Basis") -> StreamWrite:
        """Return the write that remembers the key of a decision without events."""
        [event_id] = self.first_ids(1)
        event = EncodedEvent(NOTHING_DECIDED, 1, event_id, msgspec.json.encode(basis).decode(), self.metadata)
        return StreamWrite(f"{NOTHING_DECIDED}-{event_id[:2]}", (event,), ANY)

    def _key_reused(self, stream: str, original: str) -> KeyReused:
        is_reserved = stream.startswith(f"{NOTHING_DECIDED}-")
        return KeyReused(self._key, "" if is_reserved else stream, original)

    def _record(self, name: str, arguments: Mapping[str, Any]) -> CommandRecord:
        # fault: unrecorded-argument-under-key
        return _command_record(name, arguments, _encode_argument if self.options.key is None else _refuse_argument)

    @property
    def _key(self) -> str:
        assert self.options.key is not None
        return self.options.key

    def _difference(self, original: CommandRecord | None, basis: "Basis") -> str | None:
        """Return what the key was used for, if it was not this command."""
        assert self.command is not None
        assert self._command is not None
        if original is None:
            return "an append"
        if original.name != self.command.name or (self.stream and self.stream != basis.stream):
            return original.name
        if not _same_arguments(self._command[1], self.command, original):
            return f"{original.name} with other arguments"
        return None


class Basis(Struct, frozen=True):
    """What a decision was based on, as stored in the data of `NOTHING_DECIDED`.

    Attributes:
        stream: the stream; "" for a boundary.
        version: the version of the stream; 0 for a boundary.
        position: the position up to which the decision had read.
    """

    stream: str
    version: int
    position: int


def _command_of(metadata: str) -> CommandRecord | None:
    return msgspec.json.decode(metadata, type=Metadata).command


def _basis_of(first: RecordedEvent) -> Basis:
    """Return what a decision was based on, given its first event."""
    if first.type == NOTHING_DECIDED:
        return msgspec.json.decode(first.data, type=Basis)
    return Basis(first.stream, first.version - 1, first.position - 1)


def _same_arguments(arguments: Mapping[str, Any], command: CommandRecord, original: CommandRecord) -> bool:
    """Return whether two commands have the same arguments. Those that one of them has not recorded do not count."""
    if bytes(command.arguments) == bytes(original.arguments):
        return True
    new, old = msgspec.json.decode(command.arguments), msgspec.json.decode(original.arguments)
    return all(same_value(new[name], old[name], arguments[name]) for name in new.keys() & old.keys())


def _command_record(name: str, arguments: Mapping[str, Any], encode_argument: Callable[[object], Any]) -> CommandRecord:
    """Return a command as recorded in the metadata of its events.

    Args:
        name: name of the command.
        arguments: its arguments.
        encode_argument: encodes a value that msgspec does not support.

    Raises:
        InvalidValue: JSON cannot represent an argument, or it can be read only once.
    """
    try:
        return CommandRecord(name, msgspec.Raw(msgspec.json.encode(arguments, enc_hook=encode_argument)))
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
    if isinstance(result, Appended):
        is_own = result.repeated and intention.has_new_ids
        return Appended(result.position, result.versions) if is_own else result
    if isinstance(result, ConditionFailed) and condition is not None:
        events = tuple(each for each in result.events if each.type != NOTHING_DECIDED)
        if not events:  # no fact was recorded
            return await append(log, intention, writes, AppendCondition(condition.queries, result.position))
        return ConditionFailed(events, result.position)
    return result


async def check_key(
    log: DecisionLog, intention: Intention, writes: Sequence[StreamWrite], result: AppendResult
) -> None:
    """Check the result of an append, under a key, of events that the caller passes; arguments as for `append`.

    Raises:
        KeyReused: the key was used for a command, or for an append of other events.
    """
    if is_duplicate(result):
        number = sum(len(write.events) for write in writes)
        stored = await log.find(intention.first_ids(number + 1))
        intention.check_same_append(result, number, [(each.stream, each.metadata) for each in stored])


def is_duplicate(result: AppendResult) -> bool:
    """Return whether an append did not store its events because some of their ids are stored."""
    return isinstance(result, IdConflict) or (isinstance(result, Appended) and result.repeated)


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
    log: DecisionLog, intention: Intention, decide_again: Callable[[Basis, datetime], Awaitable[tuple[R, int]]]
) -> WriteResult[R] | None:
    """Return the stored result of a decision under an idempotency key, or None if the key is new.

    Args:
        log: the log.
        intention: an intention with a key and a command.
        decide_again: takes the basis of the first call and its time, repeats the decision, and returns its value, which
            is not stored, and the number of its events.

    Raises:
        KeyReused: the key was used for another command, for one with other arguments or of another stream, or for an
            append.
    """
    first = next(iter(await log.find(intention.first_ids(1))), None)
    if first is None:
        return None
    basis = intention.check_same_command(first)
    value, events = await decide_again(basis, first.recorded_at)
    if first.type == NOTHING_DECIDED:
        return WriteResult(value, basis.stream, basis.version, basis.position, repeated=True)
    stored = await log.find(intention.first_ids(max(1, events)))
    version = max(event.version for event in stored if event.stream == first.stream)
    return WriteResult(value, first.stream, version, stored[-1].position, repeated=True, events=len(stored))


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
            scope=options.scope if options.key is not None else "",
            extra=dict(options.extra),
        )
    )


def _refuse_argument(value: object) -> Any:
    """Encode an argument under an idempotency key. One that can be recorded by its type alone could not be compared."""
    encoded = _encode_argument(value)
    if isinstance(encoded, str):
        reason = f"a {type(value).__qualname__} cannot be recorded as JSON, so a repeated call could not be recognized"
        raise InvalidValue("a command's arguments under an idempotency key", "$", f"{reason}: pass text or numbers")
    return encoded


def _encode_argument(value: object) -> Any:
    """Encode an argument that msgspec does not support: by its attributes, or by the name of its type."""
    name = type(value).__qualname__
    # fault: arguments-read-once
    if isinstance(value, Iterator):
        reason = f"a {name} can be read only once, but the command may run again: pass a list"
        raise InvalidValue("a command's arguments", "$", reason)
    return getattr(value, "__dict__", None) or f"<{name}>"
