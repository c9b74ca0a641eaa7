"""The check of random event classes: right histories pass, and what breaks is shown by a small, valid event."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fait
from fait._events.event import event_type
from fait._evolution.check.refusal import refusals
from fait._evolution.check.shrink import shrink
from fait._evolution.locks.members import data_paths
from fait._schema.acceptance import accepts
from fait.schema import Verdict, compare, describe, samples, worst_verdict
from tests.evolution.event_locks import check, lock
from tests.schema.event_types import KINDS, Fields, changed, event_class, fields

LIMITS = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
NAME = "test.generated"


def versioned(kind: str, specified: Fields, version: int) -> type:
    cls = event_class(kind, specified)
    declared = event_type(cls)
    assert declared is not None
    declared.schema_version = version
    return cls


@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(data=st.data())
def test_change_without_upcaster_passes_exactly_if_it_is_readable(kind: str, data: st.DataObject) -> None:
    before = data.draw(fields(kind))
    after = data.draw(changed(before, kind))
    old, new = versioned(kind, before, 1), versioned(kind, after, 2)

    found = check([new], [lock(old), lock(new)])

    is_readable = worst_verdict(compare(describe(old), describe(new))) is Verdict.READABLE
    assert ([each for each in found if each.rule != "FAIT108"] == []) == is_readable
    assert "FAIT110" not in [each.rule for each in found]


@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(data=st.data(), seed=st.integers(0, 100))
def test_upcaster_that_copies_passes(kind: str, data: st.DataObject, seed: int) -> None:
    specified = data.draw(fields(kind))
    first, second = versioned(kind, specified, 1), versioned(kind, specified, 2)

    def copy(event: dict[str, Any]) -> dict[str, Any]:
        return {**event}

    def deep_copy(event: dict[str, Any]) -> Any:
        return json.loads(json.dumps(event))

    assert check([second], [first, second], fait.upcast(NAME, 1)(copy), seed=seed) == []
    assert check([second], [first, second], fait.upcast(NAME, 1)(deep_copy), seed=seed) == []


@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(data=st.data(), seed=st.integers(0, 100))
def test_refusals_agree_with_acceptance(kind: str, data: st.DataObject, seed: int) -> None:
    before = data.draw(fields(kind))
    old, new = (describe(event_class(kind, each)) for each in (before, data.draw(changed(before, kind))))

    for sample in samples(old, seed):
        found = [each for each in refusals(new, sample) if each.problem != "unknown"]
        assert (found == []) == accepts(new.records, new.root, sample) or _is_strict(new)


def _is_strict(described: Any) -> bool:
    return any(getattr(each, "strict", False) for each in described.records.values())


@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(data=st.data(), seed=st.integers(0, 100))
def test_shrunk_event_is_valid_fails_alike_and_is_not_larger(kind: str, data: st.DataObject, seed: int) -> None:
    described = describe(event_class(kind, data.draw(fields(kind))))
    sample = samples(described, seed)[0]
    path = data.draw(st.sampled_from(sorted(data_paths(sample))))

    smaller = shrink(described, sample, lambda each: path in data_paths(each))

    assert accepts(described.records, described.root, smaller)
    assert path in data_paths(smaller)
    assert len(json.dumps(smaller)) <= len(json.dumps(sample))
