"""Proves by running that events of every locked version are read: through each upcaster, to today's class.

Samples of a version pass its whole path. Each result must be what the next version allows, an upcaster must give the
same result twice and leave its input alone, and today's class must read the last result without loss. A sample that
fails is made smaller and shown.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import UNSET

from fait._errors import UsageError
from fait._events.conversion import encode_plain
from fait._events.envelope import Untyped
from fait._events.registry import Registry
from fait._evolution.check.automatic import removed_advice
from fait._evolution.check.coverage import Coverage
from fait._evolution.check.failure import HopFailure
from fait._evolution.check.hops import Hop, downcast_hops, is_readable, next_hop
from fait._evolution.check.path import PathRunner, Start
from fait._evolution.check.running import check_code
from fait._evolution.check.shrink import shrink
from fait._evolution.check.type_history import TypeHistory, place_of
from fait._evolution.check.untouched import check_untouched
from fait._evolution.locks.members import data_paths, member_paths
from fait._evolution.locks.reading import as_json, unrepeatable_paths
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.violation import RuleViolation
from fait._schema.description import Description
from fait._schema.samples import samples

__all__ = ["SAMPLES", "Prover", "generated_samples"]

_MAX_FAILURES: Final = 3
"""Maximum number of failures of one hop and rule that are reported."""


SAMPLES: Final = 16
"""Default number of events of each version that are converted: the samples of its lock, and generated ones."""


def generated_samples(name: str, version: int, described: Description, count: int, seed: int) -> list[Any]:
    """Return samples of a version; raise `UsageError` if there are none."""
    return samples(described, crc32(f"{name} {version} {seed}".encode()), count=count)


class Prover:
    """Runs samples of all locked versions.

    Args:
        registry: event types and upcasters.
        histories: the versions of each type, by current name.
        runner: runs an event.
        count: the number of samples of a version. At least half of them are generated, however many its lock has.
        seed: chooses the samples.
    """

    def __init__(
        self, registry: Registry, histories: Mapping[str, TypeHistory], runner: PathRunner, count: int, seed: int
    ) -> None:
        self._registry = registry
        self._histories = histories
        self._runner = runner
        self._count = count
        self._seed = seed
        self._reported: dict[tuple[object, ...], int] = {}
        self._faithful: dict[str, bool] = {}

    def run(self) -> Iterator[RuleViolation]:
        """Yield the violations of all hops."""
        for history in self._histories.values():
            for version in sorted(history.locks, reverse=True):  # so that a hop is reported with its own samples
                if is_readable(self._registry, history.name, version):
                    hop = next_hop(self._registry, history.name, version)
                    yield from self._prove(history, Start(history.name, version, hop))
        for hop in downcast_hops(self._registry):
            history = self._histories.get(hop.name)
            if history is not None and hop.version <= history.current:
                yield from self._prove(history, Start(hop.name, hop.version, hop, is_downcast=True))

    def _prove(self, history: TypeHistory, start: Start) -> Iterator[RuleViolation]:
        described = history.description(start.version)
        if described is None:
            return
        frozen, generated, violations = self._inputs(history, start, described)
        yield from violations
        if start.hop is not None:
            yield from self._check_code(start.hop)
        coverage = Coverage(described)
        for sample in frozen:
            yield from self._prove_sample(start, described, sample, coverage, is_frozen=True)
        for sample in generated:
            yield from self._prove_sample(start, described, sample, coverage, is_frozen=False)
        if start.hop is not None and start.hop.step is not None:
            yield from self._lost(start.hop, coverage)
            yield from check_untouched(start.hop, history, coverage)

    def _inputs(
        self, history: TypeHistory, start: Start, described: Description
    ) -> tuple[list[Any], list[Any], list[RuleViolation]]:
        """Return the samples of the lock, generated ones, and what is wrong with them."""
        lock = history.locks.get(start.version)
        frozen = list(lock.samples) if lock else []
        if start.hop is None:
            return frozen, [], []
        try:
            count = max(self._count - len(frozen), self._count // 2)
            return frozen, generated_samples(start.name, start.version, described, count, self._seed), []
        except UsageError as error:
            violation = make_violation("FAIT113", history.name, start.version, details=(str(error),))
            return frozen, [], [] if frozen else [violation]

    def _check_code(self, hop: Hop) -> Iterator[RuleViolation]:
        try:
            check_code(hop)
        except HopFailure as failure:
            if self._is_new(failure):
                yield self._violation(failure, [])

    def _prove_sample(
        self, start: Start, described: Description, sample: Any, coverage: Coverage, *, is_frozen: bool
    ) -> Iterator[RuleViolation]:
        failure = self._failure(start, sample, is_frozen, coverage)
        if failure is None or not self._is_new(failure):
            return
        key = failure.key

        def fails(smaller: Any) -> bool:
            other = self._failure(start, smaller, is_frozen)
            return other is not None and other.key == key

        smallest = shrink(described, sample, fails)
        failure = self._failure(start, smallest, is_frozen) or failure
        source = "a sample of the lock" if is_frozen else f"generated; repeat with --seed {self._seed}"
        if (failure.hop.name, failure.hop.version) == (start.name, start.version):
            failure.data = smallest  # what the hop got, whatever it did with it
            yield self._violation(failure, [f"({source})"])
        else:
            came_from = f"made from version {start.version}: {as_json(smallest)}"
            yield self._violation(failure, [came_from, f"({source})"])

    def _failure(
        self, start: Start, sample: Any, is_frozen: bool, coverage: Coverage | None = None
    ) -> HopFailure | None:
        """Return why a sample fails; None if it does not."""
        try:
            for hop, event in self._runner.run(start, sample, coverage):
                self._check_class(start, sample, hop, event, is_frozen)
        except HopFailure as failure:
            return failure
        return None

    def _check_class(self, start: Start, sample: Any, hop: Hop | None, event: Untyped, is_frozen: bool) -> None:
        """Check that today's class reads an event as it is.

        Code of the class, such as `__post_init__`, is no part of a description. A class that refuses or changes events
        of its own description has such code, so generated samples prove nothing about it; those of locks do, and so do
        generated ones of a version whose class read them all.
        """
        name = self._registry.names.current(event.type)
        if self._histories[name].is_changed:
            return  # reported as such
        problem = self._runner.class_problem(name, event.data)
        if not problem and hop is not None:
            self._check_defaults(start, sample, hop, event)
        # fault: class-refuses-locked-sample
        if not problem or not (is_frozen or self._reads_all(start) or self._is_faithful(name)):
            return
        hop = hop or Hop(start.name, start.version, None, (start.name, start.version))
        output = [] if event.data == sample else [f"output   {as_json(event.data)}"]
        raise HopFailure("FAIT110", hop, f"class {problem[0].partition(':')[0]}", [*output, *problem], sample)

    def _check_defaults(self, start: Start, sample: Any, hop: Hop, event: Untyped) -> None:
        """Check that the class gives an event the same values each time, for members that its version did not have."""
        declared = self._registry.types[self._registry.names.current(event.type)]
        changing = unrepeatable_paths(declared, event.data)
        described = self._histories[start.name].description(start.version) if changing else None
        known = member_paths(described) if described else {}
        if paths := [path for path in changing if path not in known]:
            details = [f"{declared.cls.__name__} computes another default in each reading: {', '.join(paths)}"]
            raise HopFailure("FAIT111", hop, "default", details, sample)

    def _reads_all(self, start: Start) -> bool:
        """Return whether the class of a locked version had no code that refuses or changes events."""
        lock = self._histories[start.name].locks.get(start.version)
        # fault: validator-added-later
        return lock is not None and lock.reads_all

    def _is_faithful(self, name: str) -> bool:
        """Return whether a class reads all events that its description allows, as they are."""
        if name not in self._faithful:
            history = self._histories[name]
            described = history.described
            own = generated_samples(name, history.current, described, self._count, self._seed) if described else []
            self._faithful[name] = not any(self._runner.class_problem(name, each) for each in own)
        return self._faithful[name]

    def _is_new(self, failure: HopFailure) -> bool:
        """Return whether a failure is to be reported; remember it."""
        slot = (failure.rule, failure.hop.key)
        if failure.key in self._reported or self._reported.get(slot, 0) >= _MAX_FAILURES:
            return False
        self._reported[failure.key] = 1
        self._reported[slot] = self._reported.get(slot, 0) + 1
        return True

    def _violation(self, failure: HopFailure, notes: list[str]) -> RuleViolation:
        hop = failure.hop
        declared = self._registry.types.get(hop.name)
        return make_violation(
            failure.rule,
            hop.name,
            hop.version,
            step=hop.label,
            place=hop.place or (place_of(declared) if declared else ""),
            value=failure.data if failure.data is UNSET else msgspec.json.decode(encode_plain(failure.data)),
            details=[*failure.details, *notes],
            advice=self._advice(failure),
        )

    def _advice(self, failure: HopFailure) -> list[str]:
        hop = failure.hop
        if failure.rule == "FAIT107" and hop.target is not None:
            old, new = self._runner.description(hop.name, hop.version), self._runner.description(*hop.target)
            if old is not None and new is not None:
                return removed_advice(hop, failure.paths, old, new)
        return _ADVICE[failure.rule]

    def _lost(self, hop: Hop, coverage: Coverage) -> Iterator[RuleViolation]:
        """Yield the members that both versions have and that no result had."""
        assert hop.step is not None
        lost = coverage.lost_paths(hop.step.function)
        if lost:
            first = lost[0]
            yield make_violation(
                "FAIT107",
                hop.name,
                hop.version,
                step=hop.label,
                place=hop.place,
                value=shrink(coverage.described, coverage.example(first), lambda each: first in data_paths(each)),
                details=[f"{path} is in both versions, and no result of the upcaster has it" for path in lost],
                advice=[_advice_to_keep(hop, first)],
            )


def _advice_to_keep(hop: Hop, path: str) -> str:
    if hop.target is None:
        return "Keep it in one of the events that it makes."
    return f'Keep it, or declare it: {hop.call}..., fait.dropped("{path}"))'


_ADVICE: Final[Mapping[str, list[str]]] = {
    "FAIT107": ["Keep its value, or leave it out of the result."],
    "FAIT110": ["Correct the upcaster. Lock files and stored events never change."],
    "FAIT111": ["An upcaster depends only on its arguments: take times and ids from the data or the envelope."],
    "FAIT112": ["Work on a copy: return {**data, ...}, and copy nested objects that you change."],
}
