"""The decision runner: load a stream, decide, append; on a version conflict back off, reload and retry.

    read ──► fold ──► decide ──► append ──► WriteResult
      ▲                            │
      └── back-off ◄── conflict ◄──┘

New events are appended with the version that the stream was loaded at as their expected version. So a decision is
stored only if the stream has not changed since it was loaded: optimistic concurrency.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from fait._clock import Clock, freeze, new_id
from fait._decisions.decider import DecidedEvent, FoldDefinition
from fait._decisions.load import HistoryReader, LoadedState, Loader
from fait._decisions.snapshot import Snapshots
from fait._errors import InvalidValue, KeyReused, StoreUnavailable, UsageError, WrongExpectedVersion
from fait._events.append import (
    AppendCondition,
    Appended,
    AppendResult,
    Page,
    StreamWrite,
    Until,
    VersionConflict,
    raise_on_conflict,
)
from fait._events.codec import Codec, encode_metadata
from fait._events.envelope import CommandRecord, EncodedEvent, Metadata, RecordedEvent
from fait._events.query import Query
from fait._events.stream import stream_name
from fait._events.version import Expected, expected_name, expected_number, is_expected
from fait._telemetry import NO_ORIGIN, origin

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    R_co = DefaultTypeVar("R_co", covariant=True, default=Any)
else:
    R_co = TypeVar("R_co", covariant=True)

__all__ = [
    "DEFAULT_ATTEMPTS",
    "Decision",
    "DecisionLog",
    "DecisionRunner",
    "Options",
    "WriteResult",
    "append_with_retry",
    "async_command_error",
    "back_off",
    "build_metadata",
    "check_key_reuse",
    "command_record",
    "event_id_for_key",
]

S = TypeVar("S")
R = TypeVar("R")

DEFAULT_ATTEMPTS: Final = 32
"""Default maximum number of times a decision is made before a conflict becomes an error."""

_INITIAL_BACKOFF_S: Final = 0.002
"""Maximum delay before a retry; it doubles with each conflict."""

_MAX_BACKOFF_S: Final = 0.25
"""Maximum delay before a retry after any number of conflicts."""


class DecisionLog(HistoryReader, Protocol):
    """The methods of the port `Log` that decisions use."""

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        """Append events, or return the conflict that prevented it."""
        ...

    async def read(self, after: int, *, query: Query = ..., limit: int = ...) -> Page:
        """Read events of the log, in order of position."""
        ...

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        """Return events by id."""
        ...


class Options(Struct, frozen=True, kw_only=True):
    """Options of a client's calls, set by `using`.

    Attributes:
        key: idempotency key. Event ids are derived from it and the stream, so a repetition has the same ids, is
            recognized and gets the stored result.
        expected: the stream's expected version; a conflict is then an error immediately.
        attempts: maximum number of times a decision is made when appends conflict.
        extra: further entries of the events' metadata.
    """

    key: str | None = None
    expected: Expected | None = None
    attempts: int = DEFAULT_ATTEMPTS
    extra: Mapping[str, Any] = {}


class WriteResult(Struct, Generic[R_co], frozen=True):
    """The result of a decision or an append. Pass it as `after=` to read your own write.

    Attributes:
        value: the command's return value; the events of a decider; the `NewEvents` of a boundary; None for `publish`
            and `append`.
        stream: the stream of the events; the first one if there are several. "" if a boundary decided no events.
        version: the version of that stream after the append; 0 if a boundary decided no events.
        position: position of the last event that was appended. If nothing was appended: of the last event that the
            decision is based on.
        repeated: True if an earlier call with the same key, or the same `id=`, stored the events; this call wrote
            nothing. It is also True if this call's own append was stored, its connection was lost and the append was
            sent again: the two cases cannot be told apart. Without a key and an id it is always False.
        attempts: number of times the decision was made; more than 1 if appends conflicted.
    """

    value: R_co
    stream: str
    version: int
    position: int
    repeated: bool = False
    attempts: int = 1


class Decision(Struct, Generic[S, R], frozen=True):
    """A command bound to a stream, ready to run.

    Attributes:
        definition: the fold of the stream.
        id: id of the stream within the category.
        name: name of the command, as recorded in the metadata.
        arguments: arguments of the command, as recorded in the metadata.
        decide: returns the value and the new events for a state.
    """

    definition: FoldDefinition[S]
    id: str
    name: str
    arguments: Mapping[str, Any]
    decide: Callable[[S], tuple[R, Sequence[DecidedEvent]]]


class DecisionRunner:
    """Runs decisions against a log."""

    def __init__(self, log: DecisionLog, codec: Codec, clock: Clock, snapshots: Snapshots | None = None) -> None:
        self._log = log
        self._codec = codec
        self._snapshots = snapshots
        self._loader = Loader(log, codec, snapshots)
        self.clock = clock

    async def load(
        self,
        definition: FoldDefinition[S],
        id: str,
        until: Until = Until(),
        as_of: datetime | None = None,
    ) -> LoadedState[S]:
        """Load and fold a stream; with `as_of`, only the events that occurred by then, in the order of versions."""
        loaded = _with_version(definition, await self._loader.load(definition, id, until, as_of))
        self._save_snapshot(loaded)
        return loaded

    async def load_many(self, definition: FoldDefinition[S], ids: Iterable[str]) -> dict[str, LoadedState[S]]:
        """Load and fold the current state of many streams with few queries; returns them in the order of the ids."""
        states = await self._loader.load_many(definition, ids)
        return {id: _with_version(definition, loaded) for id, loaded in states.items()}

    def _save_snapshot(self, loaded: LoadedState[Any]) -> None:
        """Start saving the new snapshot, if there is one, in the background."""
        if self._snapshots is not None:
            self._snapshots.save_later(loaded.new_snapshot)

    async def run(self, decision: Decision[S, R], options: Options) -> WriteResult[R]:
        """Load, decide and append; on a version conflict back off and retry, up to `options.attempts` attempts."""
        stream = stream_name(decision.definition.category, decision.id)
        command = command_record(decision.name, decision.arguments)
        metadata = build_metadata(options, command)
        conflict: VersionConflict | None = None
        for attempt in range(options.attempts):
            if attempt:
                await back_off(attempt)
            loaded = _with_version(decision.definition, await self._loader.load(decision.definition, decision.id))
            if (repeated := await self._find_repeated(decision, options, stream, command)) is not None:
                return repeated
            _check_expected(stream, options, loaded.version)
            value, write = self._decide(decision, loaded, options, stream, metadata)
            if write is None:
                self._save_snapshot(loaded)
                return WriteResult(value, stream, loaded.version, loaded.position, attempts=attempt + 1)
            append_result = await append_with_retry(self._log, [write], new_ids=options.key is None)
            if isinstance(append_result, VersionConflict) and options.expected is None:
                conflict = append_result
                continue
            if not _is_first_append(append_result) and (
                repeated := await self._find_repeated(decision, options, stream, command)
            ):
                return repeated  # a concurrent call with the same key appended after the lookup above
            stored = raise_on_conflict(append_result)
            self._save_snapshot(loaded)
            return WriteResult(value, stream, stored.versions[0], stored.position, stored.repeated, attempt + 1)
        assert conflict is not None
        raise WrongExpectedVersion(stream, expected_name(conflict.expected), conflict.actual)

    def _decide(
        self, decision: Decision[S, R], loaded: LoadedState[S], options: Options, stream: str, metadata: str
    ) -> tuple[R, StreamWrite | None]:
        with freeze(self.clock.now()):
            value, events = decision.decide(loaded.state)
        if inspect.iscoroutine(value):
            value.close()
            raise async_command_error(decision.name)
        if not events:
            return value, None
        encoded = tuple(self._encode(event, stream, options.key, index, metadata) for index, event in enumerate(events))
        return value, StreamWrite(stream, encoded, loaded.version)

    def _encode(self, decided: DecidedEvent, stream: str, key: str | None, index: int, metadata: str) -> EncodedEvent:
        event_id = new_id() if key is None else event_id_for_key(stream, key, index)
        return self._codec.encode(decided.event, id=event_id, metadata=metadata, tags=decided.tags)

    async def _find_repeated(
        self, decision: Decision[S, R], options: Options, stream: str, command: CommandRecord
    ) -> WriteResult[R] | None:
        """Return the stored result of the idempotency key, or None if there is no key or it is new."""
        if options.key is None:
            return None
        stored = await self._log.find([event_id_for_key(stream, options.key, 0)])
        if not stored:
            return None
        check_key_reuse(stored[0], options.key, command)
        return await self._repeat_result(decision, options.key, stream, stored[0])

    async def _repeat_result(
        self, decision: Decision[S, R], key: str, stream: str, first: RecordedEvent
    ) -> WriteResult[R]:
        """Compute a repetition's value by deciding again, on the state and at the time of the first call."""
        loaded = await self.load(decision.definition, decision.id, Until(version=first.version - 1))
        with freeze(first.recorded_at):
            value, events = decision.decide(loaded.state)
        stored = await self._log.find([event_id_for_key(stream, key, index) for index in range(max(1, len(events)))])
        return WriteResult(value, stream, stored[-1].version, stored[-1].position, repeated=True)


def async_command_error(name: str) -> UsageError:
    """Return the error for a command that is a coroutine function."""
    return UsageError(
        f"the command {name} is async, but a command must be a plain function: it may run more than once. Await "
        f"its inputs first, and pass the results as arguments. Nothing was written."
    )


def build_metadata(options: Options, command: CommandRecord | None = None) -> str:
    """Return the metadata of an append as JSON: command, key, origin and extra entries."""
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


def command_record(name: str, arguments: Mapping[str, Any]) -> CommandRecord:
    """Return a command as recorded in the metadata of its events.

    Raises:
        InvalidValue: JSON cannot represent an argument.
    """
    try:
        return CommandRecord(name, msgspec.Raw(msgspec.json.encode(arguments, enc_hook=_encode_argument)))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = f"JSON cannot represent it ({type(error).__name__})"
        raise InvalidValue("a command's arguments", "$", reason) from None


def check_key_reuse(stored: RecordedEvent, key: str, command: CommandRecord) -> None:
    """Raise `KeyReused` if the key's event was stored by another command, or with other arguments."""
    first = msgspec.json.decode(stored.metadata, type=Metadata).command
    if first is None:
        raise KeyReused(key, stored.stream, "an append")
    if first.name != command.name:
        raise KeyReused(key, stored.stream, first.name)
    if bytes(first.arguments) != bytes(command.arguments):
        raise KeyReused(key, stored.stream, f"{first.name} with other arguments")


async def append_with_retry(
    log: DecisionLog, writes: Sequence[StreamWrite], condition: AppendCondition | None = None, *, new_ids: bool
) -> AppendResult:
    """Append, and retry once if the outcome is unknown. The retry has the same event ids, so it writes nothing twice.

    Args:
        log: the log.
        writes: the events of each stream.
        condition: the append condition.
        new_ids: whether the event ids were generated for this call. Then no earlier call can have stored them, and a
            result marked as repeated is this call's own first attempt.
    """
    try:
        result = await log.append(writes, condition)
    except StoreUnavailable as error:
        if error.outcome == "not_written":
            raise
        result = await log.append(writes, condition)
    if new_ids and isinstance(result, Appended) and result.repeated:
        return Appended(result.position, result.versions)
    return result


async def back_off(conflicts: int) -> None:
    """Sleep after a number of conflicts: exponential back-off with full jitter."""
    import random  # here, as it is slow to import and only conflicts need it

    await asyncio.sleep(random.uniform(0, min(_MAX_BACKOFF_S, _INITIAL_BACKOFF_S * 2**conflicts)))  # noqa: S311


def event_id_for_key(scope: str, key: str, index: int) -> str:
    """Return the id of the n-th event appended under an idempotency key: a UUIDv8 made from a hash.

    Args:
        scope: where the key is valid: the name of a stream or of a boundary.
        key: the idempotency key.
        index: index of the event in the append, from 0.
    """
    import hashlib  # here, as it is slow to import and only keys need it

    digest = hashlib.sha256(f"{scope}\0{key}\0{index}".encode()).digest()
    number = int.from_bytes(digest[:16], "big") & ~(0xF << 76) & ~(0x3 << 62) | (8 << 76) | (2 << 62)
    return str(UUID(int=number))


def _encode_argument(value: object) -> Any:
    """Encode an argument that msgspec does not support: by its attributes, or by the name of its type."""
    return getattr(value, "__dict__", None) or f"<{type(value).__qualname__}>"


def _with_version(definition: FoldDefinition[S], loaded: LoadedState[S]) -> LoadedState[S]:
    if definition.set_version is not None:
        definition.set_version(loaded.state, loaded.version)
    return loaded


def _is_first_append(result: AppendResult) -> bool:
    return isinstance(result, Appended) and not result.repeated


def _check_expected(stream: str, options: Options, version: int) -> None:
    if options.expected is not None and not is_expected(expected_number(options.expected), version):
        raise WrongExpectedVersion(stream, options.expected, version)
