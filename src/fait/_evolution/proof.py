"""Proves by running that events of every locked version are read: through each upcaster, to today's class.

Samples of a version pass its whole path. Each result must be what the next version allows, an upcaster must give the
same result twice and leave its input alone, and today's class must read the last result without loss. A sample that
fails is made smaller and shown.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast
from zlib import crc32

import msgspec

from fait._errors import DeclarationError, InvalidValue, UndecodableEvent, UsageError
from fait._events.conversion import encode_plain
from fait._events.envelope import Envelope, RecordedEvent, Untyped
from fait._events.event import EventType
from fait._events.registry import Registry
from fait._events.unknown_keys import decode_known_keys
from fait._evolution.automatic import removed_advice
from fait._evolution.clocks import clock_uses
from fait._evolution.coverage import Coverage
from fait._evolution.equality import changed_paths
from fait._evolution.history import History, place_of
from fait._evolution.hops import Hop, downcast_hops, next_hop
from fait._evolution.refusal import refusals
from fait._evolution.rules import make_violation
from fait._evolution.shrink import shrink
from fait._evolution.violation import Violation
from fait._schema.acceptance import accepts
from fait._schema.description import Description, canonical_json
from fait._schema.samples import samples

__all__ = ["Prover"]

_MAX_FAILURES: Final = 3
"""Maximum number of failures of one hop that are reported."""

_MAX_HOPS: Final = 100
"""Maximum number of hops of one event; a longer path is taken for one without an end."""

_canonical = msgspec.json.Encoder(decimal_format="string", order="sorted").encode
_decode = msgspec.json.decode


class HopFailure(Exception):
    """An event does not pass a hop.

    Attributes:
        rule: the rule that is violated.
        hop: the hop; None if today's class fails.
        kind: two failures of one hop with the same kind have the same cause.
        details: what happened.
        data: the input of the hop.
        paths: the members that are concerned.
    """

    def __init__(self, rule: str, hop: Hop, kind: str, details: list[str], data: Any, paths: list[str] = []) -> None:  # noqa: B006 - never changed
        super().__init__(rule, hop.label, kind)
        self.rule = rule
        self.hop = hop
        self.kind = kind
        self.details = details
        self.data = data
        self.paths = paths

    @property
    def key(self) -> tuple[object, ...]:
        """Failures with one key are reported once."""
        return (self.rule, self.hop.key, self.kind)


class Prover:
    """Runs samples of all locked versions.

    Args:
        registry: event types and upcasters.
        histories: the versions of each type.
        blocked: keys of the hops that are reported already; an event is not followed further.
        count: the number of samples that are generated for a version.
        seed: chooses the samples.
    """

    def __init__(
        self,
        registry: Registry,
        histories: Mapping[str, History],
        blocked: set[tuple[str, int, bool]],
        count: int,
        seed: int,
    ) -> None:
        self._registry = registry
        self._histories = histories
        self._blocked = blocked
        self._count = count
        self._seed = seed
        self._reported: dict[tuple[object, ...], int] = {}
        self._faithful: dict[str, bool] = {}

    def run(self) -> Iterator[Violation]:
        """Yield the violations of all hops."""
        for history in self._histories.values():
            if history.name in self._registry.names.known:
                for version in sorted(history.locks, reverse=True):  # so that a hop is reported with its own samples
                    yield from self._prove_version(history, version)
        for hop in downcast_hops(self._registry):
            yield from self._prove_downcast(hop)

    def _prove_version(self, history: History, version: int) -> Iterator[Violation]:
        try:
            self._registry.conversion(history.name, version)
        except UndecodableEvent:
            return  # reported as such
        first = next_hop(self._registry, history.name, version)
        yield from self._prove_from(history, version, first, follow=True)

    def _prove_downcast(self, hop: Hop) -> Iterator[Violation]:
        history = self._histories.get(hop.name)
        if history is not None and hop.version <= history.current and history.description(hop.version) is not None:
            yield from self._prove_from(history, hop.version, hop, follow=False)

    def _prove_from(self, history: History, version: int, first: Hop | None, *, follow: bool) -> Iterator[Violation]:
        described = history.description(version)
        if described is None:
            return
        inputs, violations = self._inputs(history, version, described, generate=first is not None)
        yield from violations
        coverage = Coverage(described)
        for sample, is_frozen in inputs:
            journey = _Journey(self, history.name, version, sample, is_frozen, first, coverage if first else None)
            try:
                journey.run(follow=follow)
            except HopFailure as failure:
                yield from self._report(failure, journey, described, follow=follow)
        if first is not None and first.step is not None:
            yield from self._lost(first, coverage)

    def _inputs(
        self, history: History, version: int, described: Description, *, generate: bool
    ) -> tuple[list[tuple[Any, bool]], list[Violation]]:
        """Return samples, and whether each is of the lock; and the violations of samples that cannot be used."""
        lock = history.locks.get(version)
        frozen = lock.samples if lock else ()
        valid = [(each, True) for each in frozen if accepts(described.records, described.root, each)]
        found: list[Violation] = []
        if len(valid) < len(frozen):
            details = [f"{len(frozen) - len(valid)} of its samples are not what its description allows"]
            advice = ["Restore the file from the history of the repository."]
            found.append(make_violation("FAIT102", history.name, version, details=details, advice=advice))
        if generate:
            try:
                valid += [(each, False) for each in self.generated(history.name, version, described)]
            except UsageError as error:
                if not valid:
                    found.append(make_violation("FAIT113", history.name, version, details=(str(error),)))
        return valid, found

    def generated(self, name: str, version: int, described: Description) -> list[Any]:
        """Return generated samples of a version."""
        return samples(described, crc32(f"{name} {version} {self._seed}".encode()), count=self._count)

    def _report(
        self, failure: HopFailure, journey: "_Journey", described: Description, *, follow: bool
    ) -> Iterator[Violation]:
        hop, start = failure.hop, journey.version
        slot = (failure.rule, hop.key)
        if failure.key in self._reported or self._reported.get(slot, 0) >= _MAX_FAILURES:
            return
        self._reported[failure.key] = 1
        self._reported[slot] = self._reported.get(slot, 0) + 1
        smallest = shrink(described, journey.sample, lambda each: journey.fails_alike(each, failure, follow=follow))
        failure = journey.failure_of(smallest, follow=follow) or failure
        details = failure.details
        if (hop.name, hop.version) != (journey.name, start):
            details = [*details, f"made from version {start}: {canonical_json(smallest)}"]
        source = "a sample of the lock" if journey.is_frozen else f"generated; repeat with --seed {self._seed}"
        yield make_violation(
            failure.rule,
            hop.name,
            hop.version,
            step=hop.label,
            place=hop.place or self._place_of_class(hop.name),
            value=failure.data,
            details=[*details, f"({source})"],
            advice=self._advice(failure),
        )

    def _place_of_class(self, name: str) -> str:
        declared = self._registry.types.get(name)
        return place_of(declared) if declared else ""

    def _advice(self, failure: HopFailure) -> list[str]:
        hop = failure.hop
        if failure.rule == "FAIT107" and hop.target is not None:
            old, new = (self.description(*each) for each in ((hop.name, hop.version), hop.target))
            if old is not None and new is not None:
                return removed_advice(hop, failure.paths, old, new)
        return _ADVICE.get(failure.rule, [])

    def _lost(self, hop: Hop, coverage: Coverage) -> Iterator[Violation]:
        """Yield the members that both versions have and that no result had."""
        lost = coverage.lost_paths(hop.step.function if hop.step else ())
        if lost and (hop.key, "lost") not in self._reported:
            self._reported[hop.key, "lost"] = 1
            yield make_violation(
                "FAIT107",
                hop.name,
                hop.version,
                step=hop.label,
                place=hop.place,
                value=shrink(
                    coverage.described, coverage.example(lost[0]), lambda each: lost[0] in coverage.paths_of(each)
                ),
                details=[f"{path} is in both versions, and no result of the upcaster has it" for path in lost],
                advice=[f'Keep it, or declare it: fait.upcast("{hop.name}", {hop.version}, fait.dropped("{lost[0]}"))'],
            )

    def description(self, name: str, version: int) -> Description | None:
        """Return the description of a version of a type; None if there is none."""
        history = self._histories.get(name)
        return history.description(version) if history else None

    def hop(self, name: str, version: int) -> Hop | None:
        """Return the hop from a version; None from the version of the class."""
        return next_hop(self._registry, name, version)

    def is_blocked(self, hop: Hop) -> bool:
        """Return whether a hop is reported already."""
        return hop.key in self._blocked

    def check_readable(self, part: Untyped) -> None:
        """Raise `UndecodableEvent` if no class reads a part of a split."""
        self._registry.conversion(part.type, part.schema_version)

    def current(self, name: str) -> str:
        """Return the current name for a former one."""
        return self._registry.names.current(name)

    def needs_envelope(self, name: str) -> bool:
        """Return whether an upcaster on the way may take the envelope."""
        return name in self._registry.names.converted or any(
            step.takes_envelope for (of, _), step in self._registry.downcasters.items() if of == name
        )

    def class_problem(self, name: str, data: Any, *, is_frozen: bool) -> list[str]:
        """Return why today's class does not read data as it is; empty if it does.

        Code of the class, such as `__post_init__`, is no part of a description. A class that refuses or changes events
        of its own description has such code, so generated samples prove nothing about it; those of locks do.
        """
        declared = self._registry.types[name]
        problem = _read_problem(declared, data)
        if problem and not is_frozen and not self._is_faithful(declared):
            return []
        return problem

    def _is_faithful(self, declared: EventType) -> bool:
        """Return whether a class reads all events that its description allows, as they are."""
        if declared.name not in self._faithful:
            described = self.description(declared.name, declared.schema_version)
            own = self.generated(declared.name, declared.schema_version, described) if described else []
            self._faithful[declared.name] = not any(_read_problem(declared, each) for each in own)
        return self._faithful[declared.name]


_ADVICE: Final[Mapping[str, list[str]]] = {
    "FAIT110": ["Correct the upcaster. Lock files and stored events never change."],
    "FAIT111": ["An upcaster depends only on its arguments: take times and ids from the data or the envelope."],
    "FAIT112": ["Work on a copy: return {**data, ...}, and copy nested objects that you change."],
}


class _Journey:
    """The way of one sample from its version to today's classes."""

    def __init__(
        self,
        prover: Prover,
        name: str,
        version: int,
        sample: Any,
        is_frozen: bool,
        first: Hop | None,
        coverage: Coverage | None,
    ) -> None:
        self._prover = prover
        self.name = name
        self.version = version
        self.sample = sample
        self.is_frozen = is_frozen
        self._first = first
        self._coverage = coverage

    def run(self, *, follow: bool) -> None:
        """Convert the sample, with each of the envelopes it needs; raise `HopFailure` if it fails."""
        self._run(self.sample, follow, self._coverage)

    def failure_of(self, sample: Any, *, follow: bool) -> HopFailure | None:
        """Return how a sample fails; None if it does not."""
        try:
            self._run(sample, follow, None)
        except HopFailure as failure:
            return failure
        return None

    def fails_alike(self, sample: Any, failure: HopFailure, *, follow: bool) -> bool:
        """Return whether a sample fails in the same way."""
        other = self.failure_of(sample, follow=follow)
        return other is not None and other.key == failure.key

    def _run(self, sample: Any, follow: bool, coverage: Coverage | None) -> None:
        text = encode_plain(sample)
        if self._first is None:
            self._check_class(Hop(self.name, self.version, None, (self.name, self.version)), self.name, _decode(text))
            return
        if self._prover.is_blocked(self._first):
            return
        for envelope in self._envelopes(text):
            results = _convert(self._first, _decode(text), envelope)
            if self._first.step is not None:
                _check_repeatable(self._first, text, envelope, results)
            checked = self._check_results(self._first, sample, results)
            if coverage is not None:
                coverage.add(sample, checked)
            for part in results if follow else ():
                self._follow(part, envelope, 0, self._first)

    def _envelopes(self, text: bytes) -> list[Envelope[Untyped] | None]:
        if not self._prover.needs_envelope(self.name):
            return [None]
        return [_envelope(each, self.name, self.version, text) for each in _RECORDED]

    def _follow(self, event: Untyped, envelope: Envelope[Untyped] | None, depth: int, before: Hop) -> None:
        name = self._prover.current(event.type)
        hop = self._prover.hop(name, event.schema_version)
        if hop is None:
            self._check_class(before, name, event.data)
            return
        if self._prover.is_blocked(hop):
            return
        if depth > _MAX_HOPS:
            raise HopFailure("FAIT110", hop, "endless", [f"the path does not end after {depth} hops"], event.data)
        for result in self._checked(hop, event.data, envelope):
            self._follow(result, envelope, depth + 1, hop)

    def _checked(self, hop: Hop, data: Any, envelope: Envelope[Untyped] | None) -> list[Untyped]:
        results = _convert(hop, data, envelope)
        self._check_results(hop, data, results)
        return results

    def _check_results(self, hop: Hop, data: Any, results: list[Untyped]) -> list[tuple[Description | None, Any]]:
        """Check that each result is what its version allows, and return them with the descriptions, as JSON."""
        checked: list[tuple[Description | None, Any]] = []
        for part in results:
            plain = _plain(hop, data, part.data)
            described = self._described(hop, data, part)
            if described is not None:
                _check_allowed(hop, data, part, plain, described)
            checked.append((described, plain))
        return checked

    def _described(self, hop: Hop, data: Any, part: Untyped) -> Description | None:
        if hop.target is None:
            try:
                self._prover.check_readable(part)
            except UndecodableEvent as error:
                details = [f"makes      version {part.schema_version} of {part.type!r}, which cannot be read: {error}"]
                raise HopFailure("FAIT110", hop, f"part {part.type} {part.schema_version}", details, data) from None
        return self._prover.description(self._prover.current(part.type), part.schema_version)

    def _check_class(self, before: Hop, name: str, data: Any) -> None:
        if problem := self._prover.class_problem(name, data, is_frozen=self.is_frozen):
            output = [] if data == self.sample else [f"output   {_shown(data)}"]
            raise HopFailure("FAIT110", before, f"class {problem[0][:60]}", [*output, *problem], self.sample)


def _convert(hop: Hop, data: Any, envelope: Envelope[Untyped] | None) -> list[Untyped]:
    """Return the results of a hop; raise `HopFailure` if it raises or changes its input."""
    if hop.step is None:
        assert hop.target is not None
        return [Untyped(hop.target[0], data, hop.target[1])]
    before = encode_plain(data)
    if envelope is not None:
        envelope = Envelope(Untyped(hop.name, data, hop.version), envelope.recorded_event)
    try:
        results = _results(hop, data, envelope)
    except Exception as error:
        kind = "" if isinstance(error, DeclarationError) else f"{type(error).__name__}: "
        details = [f"raises   {kind}{error}"]
        raise HopFailure("FAIT110", hop, type(error).__name__, details, _decode(before)) from None
    # fault: changed-input
    if not _is_unchanged(data, before):
        raise HopFailure("FAIT112", hop, "changed", [f"after    {_shown(data)}"], _decode(before))
    return results


def _results(hop: Hop, data: Any, envelope: Envelope[Untyped] | None) -> list[Untyped]:
    assert hop.step is not None
    if hop.target is None:
        return hop.step.split(data, envelope)
    return [Untyped(hop.target[0], hop.step(data, envelope), hop.target[1])]


def _is_unchanged(data: Any, before: bytes) -> bool:
    try:
        return encode_plain(data) == before
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False


def _check_repeatable(hop: Hop, text: bytes, envelope: Envelope[Untyped] | None, results: list[Untyped]) -> None:
    """Run a hop again, on an equal input and on one with its members in another order; both must give the same."""
    first = [_sorted_json(each) for each in results]
    for reason, data in (("two runs on the same input differ", _decode(text)), ("the order of members", None)):
        again = data if data is not None else _reversed(_decode(text))
        try:
            second = [_sorted_json(each) for each in _convert(hop, again, envelope)]
        except HopFailure as failure:
            details = [f"a second run fails: {failure.details[0]}"]
            raise HopFailure("FAIT111", hop, "second run", details, _decode(text)) from None
        # fault: unrepeatable
        if first != second:
            raise HopFailure("FAIT111", hop, reason, [_difference(reason, first, second)], _decode(text))
    _check_clock(hop, text)


def _check_clock(hop: Hop, text: bytes) -> None:
    steps = hop.step.steps if hop.step else ()
    if uses := [use for step in steps for use in clock_uses(step)]:
        raise HopFailure("FAIT111", hop, "clock", [f"its code uses {', '.join(uses)}"], _decode(text))


def _sorted_json(part: Untyped) -> bytes:
    try:
        return _canonical(part)
    except Exception:  # reported as a result that is not JSON
        return b""


def _reversed(data: Any) -> Any:
    return dict(reversed(cast("dict[str, Any]", data).items())) if isinstance(data, dict) else data


def _difference(reason: str, first: list[bytes], second: list[bytes]) -> str:
    if reason == "the order of members":
        return "the result depends on the order of the members of the input, which JSON does not define"
    paths = changed_paths([_decode(each) for each in first], [_decode(each) for each in second])
    names = ", ".join(dict.fromkeys(path.removeprefix("[].data").removeprefix(".") for path in paths))
    return f"two runs on the same input differ in: {names or 'the number of events'}"


def _plain(hop: Hop, data: Any, result: Any) -> Any:
    """Return a result as it is decoded: as JSON data; raise `HopFailure` if it is not a JSON object."""
    if hasattr(result, "close") and hasattr(result, "cr_code"):
        result.close()  # a coroutine that is never awaited would print a warning
    if isinstance(result, dict | list):
        try:
            return _decode(encode_plain(result))
        except Exception as error:
            details = [f"returns  what JSON cannot store: {error}"]
            raise HopFailure("FAIT110", hop, "not JSON", details, data) from None
    details = [f"returns  {type(cast('object', result)).__name__}, and not a JSON object"]
    raise HopFailure("FAIT110", hop, "no object", details, data)


def _check_allowed(hop: Hop, data: Any, part: Untyped, plain: Any, described: Description) -> None:
    found = refusals(described, plain)
    if not found:
        return
    # fault: unknown-member-in-result
    rule = "FAIT107" if all(each.problem == "unknown" for each in found) else "FAIT110"
    of = f" of {part.type!r}" if hop.target is None else ""
    lines = [f"output   {_shown(plain)}", *map(str, found)]
    if of:
        lines.append(f"in version {part.schema_version}{of}")
    kind = " ".join(sorted(f"{each.problem} {each.path}" for each in found))
    raise HopFailure(rule, hop, kind, lines, data, [each.path for each in found if each.problem == "unknown"])


def _read_problem(declared: EventType, data: Any) -> list[str]:
    """Return why a class does not read data, or what it changes."""
    text = encode_plain(data)
    try:
        event = _read(declared, text)
    except Exception as error:
        return [f"{declared.cls.__qualname__} refuses it: {error}"]
    try:
        back = _decode(declared.encode(event))
    except InvalidValue:
        return []  # readable, and not to be stored again: a number beyond 64 bits
    changed = changed_paths(_decode(text), back)
    return [f"{declared.cls.__qualname__} changes {', '.join(changed)}: {_shown(back)}"] if changed else []


def _read(declared: EventType, text: bytes) -> Any:
    try:
        return declared.decode(text)
    except Exception as error:
        return decode_known_keys(declared, text, error)


def _shown(value: Any) -> str:
    try:
        return encode_plain(value).decode()
    except Exception:
        return repr(value)


_FULL_METADATA: Final = (
    '{"correlation_id":"018f3b1c-7d2a-7c3e-9f4b-2a1d0c9e8b7a","causation_id":"018f3b1c-7d2a-7c3e-9f4b-2a1d0c9e8b7b",'
    '"actor":"user-1","key":"key-1"}'
)
_RECORDED: Final = tuple(
    RecordedEvent(
        position,
        stream,
        position,
        "",
        1,
        "018f3b1c-7d2a-7c3e-9f4b-2a1d0c9e8b7c",
        "",
        metadata,
        tags,
        recorded_at,
        recorded_at,
    )
    for position, stream, metadata, tags, recorded_at in (
        (1, "stream-1", _FULL_METADATA, ("customer:1",), datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (7, "stream-2", "{}", (), datetime(2025, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    )
)
"""Two stored events without data, whose envelopes upcasters get."""


def _envelope(recorded: RecordedEvent, name: str, version: int, text: bytes) -> Envelope[Untyped]:
    stored = msgspec.structs.replace(recorded, type=name, schema_version=version, data=text.decode())
    return Envelope(Untyped(name, _decode(text), version), stored)
