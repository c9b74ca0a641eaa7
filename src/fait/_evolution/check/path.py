"""Runs one event along its path: hop by hop from its schema version to today's classes, checking each result."""

from collections.abc import Iterable, Mapping, Set
from typing import Any, Final, NamedTuple, cast

import msgspec

from fait._events.conversion import encode_plain
from fait._events.envelope import Envelope, Untyped
from fait._events.registry import Registry
from fait._evolution.check.coverage import Coverage, Result
from fait._evolution.check.failure import HopFailure
from fait._evolution.check.hops import Hop, is_readable, next_hop
from fait._evolution.check.refusal import refusals
from fait._evolution.check.running import check_pure, convert, envelopes, plain_result
from fait._evolution.check.type_history import TypeHistory
from fait._evolution.locks.members import same_members
from fait._evolution.locks.reading import as_json, read_problem
from fait._schema.description import Description

__all__ = ["PathRunner", "Start"]

_MAX_HOPS: Final = 100
"""Maximum number of hops of one event; a longer path is taken for one without an end."""

_NO_MEMBERS: Final[Set[str]] = frozenset()

Expectation = tuple[Description | None, Set[str]]


class Start(NamedTuple):
    """Where samples of a version begin.

    Attributes:
        name: current name of the event type.
        version: the schema version of the samples.
        hop: the first hop; None from the version of the class.
        is_downcast: whether only this hop is run, because it leads away from the class.
    """

    name: str
    version: int
    hop: Hop | None
    is_downcast: bool = False


class PathRunner:
    """Runs events along their paths.

    Args:
        registry: event types and upcasters.
        histories: the versions of each type, by current name.
        blocked: keys of hops that are reported already; no event is run through them.
    """

    def __init__(
        self, registry: Registry, histories: Mapping[str, TypeHistory], blocked: Set[tuple[str, int, bool]]
    ) -> None:
        self._registry = registry
        self._histories = histories
        self._blocked = blocked
        self._expectations: dict[tuple[str, int, str, int], Expectation] = {}
        self._hops: dict[tuple[str, int], Hop | None] = {}

    def description(self, name: str, version: int) -> Description | None:
        """Return the description of a version of a type; None if there is none."""
        history = self._histories.get(self._registry.names.current(name))
        return history.description(version) if history else None

    def run(self, start: Start, sample: Any, coverage: Coverage | None = None) -> list[tuple[Hop | None, Untyped]]:
        """Run an event, with each of the envelopes that its upcasters need.

        Args:
            start: where it begins.
            sample: the event, as plain data.
            coverage: gets the results of the first hop.

        Returns:
            The events of today's classes that it becomes, each with its last hop.

        Raises:
            HopFailure: it does not pass a hop.
        """
        text = encode_plain(sample)
        if start.hop is None:
            return [(None, Untyped(start.name, sample, start.version))]
        if start.hop.key in self._blocked:
            return []
        reached: list[tuple[Hop | None, Untyped]] = []
        for envelope in self._envelopes(start, text):
            data = msgspec.json.decode(text)
            results = convert(start.hop, data, envelope)
            checked = self._check_results(start.hop, data, results)
            check_pure(start.hop, text, data, envelope, results)
            if coverage is not None and start.hop.step is not None:
                coverage.add(data, checked)
            if not start.is_downcast:
                reached += self._follow_all(start.hop, results, envelope, 0)
        return reached

    def _envelopes(self, start: Start, text: bytes) -> Iterable[Envelope[Untyped] | None]:
        is_needed = start.name in self._registry.names.converted or start.is_downcast
        return envelopes(start.name, start.version, text) if is_needed else (None,)

    def _follow_all(
        self, before: Hop, events: list[Untyped], envelope: Envelope[Untyped] | None, depth: int
    ) -> list[tuple[Hop | None, Untyped]]:
        reached: list[tuple[Hop | None, Untyped]] = []
        for event in events:
            hop = self._hop(self._registry.names.current(event.type), event.schema_version)
            if hop is None:
                reached.append((before, event))
            elif hop.key not in self._blocked and (hop.step or self.description(hop.name, hop.version)):
                reached += self._follow(hop, event.data, envelope, depth)
        return reached

    def _follow(
        self, hop: Hop, data: Any, envelope: Envelope[Untyped] | None, depth: int
    ) -> list[tuple[Hop | None, Untyped]]:
        if depth > _MAX_HOPS:
            raise HopFailure("FAIT110", hop, "endless", [f"the path has no end: {depth} hops were made"], data)
        results = convert(hop, data, envelope)
        self._check_results(hop, data, results)
        return self._follow_all(hop, results, envelope, depth + 1)

    def _hop(self, name: str, version: int) -> Hop | None:
        key = name, version
        if key not in self._hops:
            self._hops[key] = next_hop(self._registry, name, version)
        return self._hops[key]

    def _check_results(self, hop: Hop, data: Any, results: list[Untyped]) -> list[Result]:
        """Check that each result is what its version allows."""
        checked: list[Result] = []
        for part in results:
            if hop.target is None:
                self._check_part(hop, data, part)
            described, same = self._expectation(hop, part)
            unchanged = _unchanged(data, part.data, same)
            plain = plain_result(hop, data, part.data, unchanged)
            if described is not None:
                _check_allowed(hop, data, part, described, plain, unchanged)
            checked.append(Result(part.data, described, unchanged))
        return checked

    def _check_part(self, hop: Hop, data: Any, part: Untyped) -> None:
        """Raise `HopFailure` if no class reads a part of a split."""
        if not is_readable(self._registry, part.type, part.schema_version):
            details = [f"makes    version {part.schema_version} of {part.type!r}, which no class reads"]
            raise HopFailure("FAIT110", hop, f"part {part.type} {part.schema_version}", details, data)

    def _expectation(self, hop: Hop, part: Untyped) -> Expectation:
        """Return the description of a result's version, and the members that have the same type before the hop."""
        key = hop.name, hop.version, part.type, part.schema_version
        if key not in self._expectations:
            before, after = self.description(hop.name, hop.version), self.description(part.type, part.schema_version)
            same = _NO_MEMBERS if before is None or after is None else same_members(before, after)
            self._expectations[key] = after, same
        return self._expectations[key]

    def class_problem(self, name: str, data: Any) -> list[str]:
        """Return why the class of a type does not read data as it is; empty if it does."""
        return read_problem(self._registry.types[name], data)


def _unchanged(data: Any, result: Any, same: Set[str]) -> Set[str]:
    """Return the members of a result that are those of the input, of those with the same type."""
    if not isinstance(result, dict) or not isinstance(data, dict):
        return _NO_MEMBERS
    before, after = cast("dict[str, Any]", data), cast("dict[str, Any]", result)
    return {name for name, value in before.items() if name in same and name in after and after[name] is value}


def _check_allowed(hop: Hop, data: Any, part: Untyped, described: Description, plain: Any, unchanged: Set[str]) -> None:
    found = refusals(described, plain, unchanged)
    if not found:
        return
    # fault: unknown-member-in-result
    is_only_unknown = all(each.problem == "unknown" for each in found)
    lines = [f"output   {as_json(part.data)}", *map(str, found)]
    if hop.target is None:
        lines.append(f"in version {part.schema_version} of {part.type!r}")
    kind = " ".join(sorted(f"{each.problem} {each.path}" for each in found))
    paths = [each.path for each in found if each.problem == "unknown"]
    raise HopFailure("FAIT107" if is_only_unknown else "FAIT110", hop, kind, lines, data, paths)
