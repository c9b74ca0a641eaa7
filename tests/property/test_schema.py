"""Descriptions of random event classes: samples are valid, and no change called readable loses a value."""

import json
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fait
from fait._events.event import event_type
from fait.schema import Description, Verdict, compare, describe, json_schema, samples, worst_verdict
from tests.schema.event_types import KINDS, changed, event_class, fields
from tests.schema.soundness import filled

LIMITS = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def plain(event: object) -> Any:
    declared = event_type(type(event))
    assert declared is not None
    return json.loads(declared.encode(event))


def decode(cls: type, value: Any) -> Any:
    declared = event_type(cls)
    assert declared is not None
    return declared.decode(json.dumps(value))


def holds(value: Any, kept: Any) -> bool:
    """Whether `kept` has all of a value: the members of an object, and the items of an array or a set."""
    if isinstance(value, dict) and isinstance(kept, dict):
        members = cast("dict[str, Any]", value)
        return all(name in kept and holds(each, kept[name]) for name, each in members.items())
    if isinstance(value, list) and isinstance(kept, list):
        items, others = cast("list[Any]", value), cast("list[Any]", kept)
        in_order = len(items) <= len(others) and all(map(holds, items, others))
        as_sets = len(items) == len(others) and all(any(holds(each, other) for other in others) for each in items)
        return in_order or as_sets
    if isinstance(value, bool) != isinstance(kept, bool):
        return False
    return value == kept


def reads(cls: type, value: Any) -> bool:
    """Whether a class reads a value without loss."""
    try:
        described = describe(cls)
        return holds(value, filled(described, described.root, plain(decode(cls, value)), every=True))
    except (msgspec.ValidationError, ValueError, fait.InvalidValue):
        return False


@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(data=st.data(), seed=st.integers(0, 100))
def test_samples_are_read_by_the_class_and_encoded_equally(kind: str, data: st.DataObject, seed: int) -> None:
    cls = event_class(kind, data.draw(fields(kind)))
    generated = samples(describe(cls), seed)

    for sample in generated:
        assert holds(sample, plain(decode(cls, sample)))
    assert generated == samples(describe(cls), seed)


@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(data=st.data())
def test_description_is_the_same_after_encoding_and_decoding(kind: str, data: st.DataObject) -> None:
    description = describe(event_class(kind, data.draw(fields(kind))))
    loaded = msgspec.json.decode(msgspec.json.encode(description), type=Description)

    assert (loaded, loaded.fingerprint) == (description, description.fingerprint)
    assert compare(description, loaded, "full") == []


@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(data=st.data(), omit_defaults=st.booleans())
def test_change_called_readable_reads_all_samples_without_loss(
    kind: str, data: st.DataObject, omit_defaults: bool
) -> None:
    original = data.draw(fields(kind))
    old = event_class(kind, original, omit_defaults=omit_defaults)
    new = event_class(kind, data.draw(changed(original, kind)), omit_defaults=omit_defaults)
    before, after = describe(old), describe(new)

    backward = compare(before, after)
    if worst_verdict(backward) is Verdict.READABLE:
        assert [sample for sample in samples(before, 7) if not reads(new, sample)] == []
    for difference in backward:
        if difference.value is not msgspec.UNSET:
            assert omit_defaults or holds(difference.value, plain(decode(old, difference.value)))
            assert not reads(new, difference.value)
    if worst_verdict(compare(before, after, "forward")) is Verdict.READABLE:
        for sample in samples(after, 7):
            decode(old, sample)


@pytest.mark.parametrize("kind", KINDS)
@LIMITS
@given(data=st.data())
def test_json_schema_of_a_class_and_its_description_allow_the_same_values(kind: str, data: st.DataObject) -> None:
    description = describe(event_class(kind, data.draw(fields(kind))))
    again = compare(json_schema(description), json_schema(description, closed=True), "full")

    assert [each for each in again if "contentEncoding" not in each.explanation] == []
