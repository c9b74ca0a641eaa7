"""The one loop: read a stream, fold it, decide, append; and if somebody else was quicker, again from the start.

    read ──► fold ──► decide ──► append ──► Done
      ▲                            │
      └────── conflict, a pause ◄──┘

It needs two verbs of a log and nothing else. What a decision emits is appended at the version it was made at, so it
holds only if nothing happened in between.
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
    "back_off",
    "build_metadata",
    "check_key_reuse",
    "command_record",
    "event_id_for_key",
]

S = TypeVar("S")
R = TypeVar("R")

DEFAULT_ATTEMPTS: Final = 32
"""How often a decision is made anew before a conflict becomes an error."""

_INITIAL_BACKOFF_S: Final = 0.002
_MAX_BACKOFF_S: Final = 0.25


class DecisionLog(HistoryReader, Protocol):
    """The verbs of a log that decisions need."""

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        """Store events, or say why not."""
        ...

    async def read(self, after: int, *, query: Query = ..., limit: int = ...) -> Page:
        """Events of the log, in order."""
        ...

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        """Events by id."""
        ...


class Options(Struct, frozen=True, kw_only=True):
    """How a decision is to be made; given by `system.using(...)`.

    Attributes:
        key: idempotency key of the intention: the same key on the same stream gives the same event ids, so that a
            repetition is recognised and answered instead of being done again.
        expected: the stream's version as the caller saw it; then a conflict is an error at once.
        attempts: how often a decision is made anew when somebody else was quicker.
        extra: goes into the events' metadata.
    """

    key: str | None = None
    expected: Expected | None = None
    attempts: int = DEFAULT_ATTEMPTS
    extra: Mapping[str, Any] = {}


class WriteResult(Struct, Generic[R_co], frozen=True):
    """A decision or an append that is stored; also the token that `after=` waits for.

    Attributes:
        result: what the command returned; a decider's events.
        stream: where its events are.
        version: of the stream now.
        position: of the last event that this rests on.
        repeated: True when an earlier call with the same key, or the same `id=`, had stored it; then nothing new was
            written. One thing cannot be told from that: this call's own append, stored just before its connection was
            lost, and sent again. Without a key and an id it is always False.
        attempts: how often it was decided: more than once when somebody else was quicker.
    """

    value: R_co
    stream: str
    version: int
    position: int
    repeated: bool = False
    attempts: int = 1


class Decision(Struct, Generic[S, R], frozen=True):
    """What is to be decided.

    Attributes:
        model: how to fold the stream.
        id: of the thing.
        name, arguments: of the command, as they are recorded.
        decide: gives the result and the events for a state.
    """

    definition: FoldDefinition[S]
    id: str
    name: str
    arguments: Mapping[str, Any]
    decide: Callable[[S], tuple[R, Sequence[DecidedEvent]]]


class DecisionRunner:
    """Makes decisions on a log."""

    def __init__(self, log: DecisionLog, codec: Codec, clock: Clock, snapshots: Snapshots | None = None) -> None:
        self._log = log
        self._codec = codec
        self._snapshots = snapshots
        self._loader = Loader(log, codec, snapshots)
        self.clock = clock

    async def load(
        self,
        model: FoldDefinition[S],
        id: str,
        until: Until = Until(),
        as_of: datetime | None = None,
    ) -> LoadedState[S]:
        """Fold a stream. With `as_of`, only facts that were true by then, in the order of versions."""
        loaded = _with_version(model, await self._loader.load(model, id, until, as_of))
        self._save_snapshot(loaded)
        return loaded

    async def load_many(self, model: FoldDefinition[S], ids: Iterable[str]) -> dict[str, LoadedState[S]]:
        """Fold many streams as they are now, with few requests; by id, in the order given."""
        found = await self._loader.load_many(model, ids)
        return {id: _with_version(model, loaded) for id, loaded in found.items()}

    def _save_snapshot(self, loaded: LoadedState[Any]) -> None:
        """Begin to keep a snapshot that is due; nobody waits for it."""
        if self._snapshots is not None:
            self._snapshots.save_later(loaded.new_snapshot)

    async def run(self, decision: Decision[S, R], options: Options) -> WriteResult[R]:
        """Decide, and append what was decided; on a conflict again, with growing pauses, `options.attempts` times."""
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
            result, write = self._decide(decision, loaded, options, stream, metadata)
            if write is None:
                self._save_snapshot(loaded)
                return WriteResult(result, stream, loaded.version, loaded.position, attempts=attempt + 1)
            verdict = await append_with_retry(self._log, [write], new_ids=options.key is None)
            if isinstance(verdict, VersionConflict) and options.expected is None:
                conflict = verdict
                continue
            if not _is_first_append(verdict) and (
                repeated := await self._find_repeated(decision, options, stream, command)
            ):
                return repeated  # the same key was quicker, since it was looked up
            done = raise_on_conflict(verdict)
            self._save_snapshot(loaded)
            return WriteResult(result, stream, done.versions[0], done.position, done.repeated, attempt + 1)
        assert conflict is not None
        raise WrongExpectedVersion(stream, expected_name(conflict.expected), conflict.actual)

    def _decide(
        self, decision: Decision[S, R], loaded: LoadedState[S], options: Options, stream: str, metadata: str
    ) -> tuple[R, StreamWrite | None]:
        with freeze(self.clock.now()):
            result, events = decision.decide(loaded.state)
        if inspect.iscoroutine(result):
            result.close()
            raise UsageError(
                f"{decision.name} is `async`: a command decides, it does not wait. Fetch first, then transact. "
                f"Nothing was written."
            )
        if not events:
            return result, None
        new = tuple(self._new(event, stream, options.key, place, metadata) for place, event in enumerate(events))
        return result, StreamWrite(stream, new, loaded.version)

    def _new(self, decided: DecidedEvent, stream: str, key: str | None, place: int, metadata: str) -> EncodedEvent:
        event_id = new_id() if key is None else event_id_for_key(stream, key, place)
        return self._codec.encode(decided.event, id=event_id, metadata=metadata, tags=decided.tags)

    async def _find_repeated(
        self, decision: Decision[S, R], options: Options, stream: str, command: CommandRecord
    ) -> WriteResult[R] | None:
        """The answer to an intention that is stored already; None if it is new, or has no key."""
        if options.key is None or not (found := await self._log.find([event_id_for_key(stream, options.key, 0)])):
            return None
        check_key_reuse(found[0], options.key, command)
        return await self._repeat_result(decision, options.key, stream, found[0])

    async def _repeat_result(
        self, decision: Decision[S, R], key: str, stream: str, first: RecordedEvent
    ) -> WriteResult[R]:
        """Answer a repetition: decide as was decided then, in the state and at the moment of then; append nothing."""
        loaded = await self.load(decision.definition, decision.id, Until(version=first.version - 1))
        with freeze(first.recorded_at):
            result, events = decision.decide(loaded.state)
        stored = await self._log.find([event_id_for_key(stream, key, place) for place in range(max(1, len(events)))])
        return WriteResult(result, stream, stored[-1].version, stored[-1].position, repeated=True)


def build_metadata(options: Options, command: CommandRecord | None = None) -> str:
    """The metadata of an append, as JSON: what is asked for, by whom, as part of which story."""
    now = origin()
    if command is None and now is NO_ORIGIN and options.key is None and not options.extra:
        return "{}"
    return encode_metadata(
        Metadata(
            correlation_id=now.correlation_id,
            causation_id=now.causation_id,
            actor=now.actor,
            traceparent=now.traceparent,
            command=command,
            key=options.key,
            extra=dict(options.extra),
        )
    )


def command_record(name: str, arguments: Mapping[str, Any]) -> CommandRecord:
    """A command as it is recorded with its events."""
    try:
        return CommandRecord(name, msgspec.Raw(msgspec.json.encode(arguments, enc_hook=_encode_argument)))
    except (TypeError, ValueError, OverflowError, RecursionError) as problem:
        reason = f"JSON cannot hold it ({type(problem).__name__})"
        raise InvalidValue("a command's arguments", "$", reason) from None


def check_key_reuse(stored: RecordedEvent, key: str, command: CommandRecord) -> None:
    """Refuse a key whose event was written for another command, or with other arguments."""
    was = msgspec.json.decode(stored.metadata, type=Metadata).command
    if was is None or (was.name, bytes(was.arguments)) != (command.name, bytes(command.arguments)):
        told = "an append" if was is None else was.name + (" with other arguments" if was.name == command.name else "")
        raise KeyReused(key, stored.stream, told)


async def append_with_retry(
    log: DecisionLog, writes: Sequence[StreamWrite], condition: AppendCondition | None = None, *, new_ids: bool
) -> AppendResult:
    """Append; an unknown outcome is settled by the ids: the same append again writes nothing twice.

    With `new_ids` they were made for this call. Then no earlier one can have stored them: what the log calls a
    repetition is this very append, sent again because the connection was lost.
    """
    try:
        verdict = await log.append(writes, condition)
    except StoreUnavailable as problem:
        if problem.outcome == "not_written":
            raise
        verdict = await log.append(writes, condition)
    if new_ids and isinstance(verdict, Appended) and verdict.repeated:
        return Appended(verdict.position, verdict.versions)
    return verdict


async def back_off(conflicts: int) -> None:
    """Make way after so many conflicts: for a while that grows with them, by chance, so that rivals part."""
    import random  # slow to import, and needed when there is a conflict

    await asyncio.sleep(random.uniform(0, min(_MAX_BACKOFF_S, _INITIAL_BACKOFF_S * 2**conflicts)))  # noqa: S311


def event_id_for_key(stream: str, key: str, place: int) -> str:
    """The id of the event at a place of what is appended to a stream under a key: a UUIDv8 of their hash."""
    import hashlib  # slow to import, and needed where there are keys

    digest = hashlib.sha256(f"{stream}\0{key}\0{place}".encode()).digest()
    number = int.from_bytes(digest[:16], "big") & ~(0xF << 76) & ~(0x3 << 62) | (8 << 76) | (2 << 62)
    return str(UUID(int=number))


def _encode_argument(value: object) -> Any:
    """How an argument that JSON does not know is recorded: by its fields, or by its type's name."""
    return getattr(value, "__dict__", None) or f"<{type(value).__qualname__}>"


def _with_version(model: FoldDefinition[S], loaded: LoadedState[S]) -> LoadedState[S]:
    if model.set_version is not None:
        model.set_version(loaded.state, loaded.version)
    return loaded


def _is_first_append(verdict: AppendResult) -> bool:
    return isinstance(verdict, Appended) and not verdict.repeated


def _check_expected(stream: str, options: Options, version: int) -> None:
    if options.expected is not None and not is_expected(expected_number(options.expected), version):
        raise WrongExpectedVersion(stream, options.expected, version)
