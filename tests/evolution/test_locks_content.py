"""What is in a lock: a description that survives the file, reserved members, and samples that the class accepts."""

from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

import fait
from fait._evolution.locks.history import history, reserved_paths
from fait._evolution.locks.lock import Lock, encode_lock
from fait._evolution.locks.locking import (
    Target,
    VersionToLock,
    earlier_version,
    make_lock,
    make_locks,
    parse_target,
    version_to_replace,
    versions_to_lock,
)
from fait._evolution.locks.members import member_paths
from fait.schema import describe
from tests.evolution.lock_examples import DAY, declared_as, lock_of, registry_of
from tests.schema.event_types import KINDS, event_class, fields

NAME = "shop.order-placed"


class Line(Struct, frozen=True):
    sku: str
    price: Decimal


class Leaf(Struct, frozen=True, tag="leaf"):
    size: int


class Branch(Struct, frozen=True, tag="branch"):
    parts: "list[Branch | Leaf]"
    by_name: dict[str, Line]


# A description survives the file


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_lock_that_is_written_and_read_is_the_same(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    cls = event_class(kind, data.draw(fields(kind)), omit_defaults=kind == "struct" and data.draw(st.booleans()))
    lock = lock_of(cls)

    content = encode_lock(lock)
    read = msgspec.json.decode(content, type=Lock)

    assert msgspec.structs.replace(read, checksum="") == lock
    assert read.description.fingerprint == lock.fingerprint == describe(cls).fingerprint
    assert encode_lock(read) == content
    assert content.endswith(b"\n}\n")


def test_lock_has_the_same_content_every_time() -> None:
    one, other = (encode_lock(lock_of(declared_as(NAME, b=int, a=list[Line]))) for _ in range(2))

    assert one == other


# Reserved members


def test_members_have_paths_as_in_declared_changes() -> None:
    cls = declared_as("paths", lines=list[Line], tree=Branch, pair=tuple[Line, int])

    assert sorted(member_paths(describe(cls))) == [
        "lines", "lines[].price", "lines[].sku", "pair", "pair[].price", "pair[].sku",
        "tree", "tree.by_name", "tree.by_name[].price", "tree.by_name[].sku", "tree.parts", "tree.parts[].size",
        "tree.parts[].type", "tree.type",
    ]  # fmt: skip


def test_every_member_that_an_earlier_version_had_is_reserved() -> None:
    first = lock_of(declared_as(NAME, a=int, b=int, lines=list[Line]))
    second = lock_of(declared_as(NAME, 2, a=int, lines=list[Line]), first)
    third = lock_of(declared_as(NAME, 3, a=int, b=str), first, second)
    fourth = lock_of(declared_as(NAME, 4, c=int), first, second, third)

    assert [each.reserved for each in (first, second, third, fourth)] == [(), ("b",), ("lines",), ("a", "b", "lines")]


def test_member_inside_a_reserved_one_is_not_listed() -> None:
    first = lock_of(declared_as(NAME, lines=list[Line], line=Line))

    assert reserved_paths([first], describe(declared_as(NAME, 2, line=str))) == ("line.price", "line.sku", "lines")


def test_history_of_a_renamed_type_includes_its_former_names() -> None:
    first = lock_of(declared_as("old", n=int))
    cls = declared_as("new", 2, was=("old",), m=int)
    (declared,) = registry_of(cls).types.values()
    second = make_lock(VersionToLock(declared), {"old": {1: first}}, today=DAY)

    assert second.reserved == ("n",)
    assert history({"old": {1: first}, "new": {2: second}}, declared) == {1: first, 2: second}


# Samples


def test_samples_are_generated_and_differ_by_version() -> None:
    one, other = lock_of(declared_as(NAME, n=int, m=str)), lock_of(declared_as("other", n=int, m=str))

    assert (len(one.samples), len(other.samples)) == (3, 3)
    assert one.samples != other.samples


@fait.event("positive")
class Positive(Struct, frozen=True):
    n: int

    def __post_init__(self) -> None:
        if self.n <= 0:
            raise ValueError("not positive")


@fait.event("impossible")
class Impossible(Struct, frozen=True):
    n: int

    def __post_init__(self) -> None:
        raise ValueError("never")


def test_samples_are_events_that_the_class_accepts() -> None:
    assert all(each["n"] > 0 for each in lock_of(Positive).samples)


def test_lock_without_a_sample_is_refused() -> None:
    with pytest.raises(fait.UsageError, match=r"no sample of the event 'impossible' was found .*--sample FILE"):
        lock_of(Impossible)


def test_samples_written_by_hand_come_first() -> None:
    (declared,) = registry_of(Positive).types.values()

    lock = make_lock(VersionToLock(declared), {}, today=DAY, written=[{"n": 7}])

    assert (lock.samples[0], len(lock.samples)) == ({"n": 7}, 3)


@pytest.mark.parametrize(
    ("sample", "reason"), [({"n": "7"}, "its description does not allow it"), ({"n": -1}, "not positive")]
)
def test_sample_that_is_no_event_is_refused(sample: Any, reason: str) -> None:
    (declared,) = registry_of(Positive).types.values()

    with pytest.raises(fait.UsageError, match=f"the sample is no event 'positive': .*{reason}.* Nothing was written"):
        make_lock(VersionToLock(declared), {}, today=DAY, written=[sample])


def test_class_without_a_sample_by_its_pattern_can_be_locked_with_one_by_hand() -> None:
    cls = declared_as("pattern", code=Annotated[str, Meta(pattern="^(?=a)a(?!b)c$")])
    (declared,) = registry_of(cls).types.values()

    assert make_lock(VersionToLock(declared), {}, today=DAY, written=[{"code": "ac"}]).samples[0] == {"code": "ac"}


# Which versions are locked


def test_drafts_are_versions_without_a_lock() -> None:
    locked, draft = declared_as("locked"), declared_as("draft")
    renamed = declared_as("new-name", was=("old-name",))
    registry = registry_of(locked, draft, renamed)
    locks = {"locked": {1: lock_of(locked)}, "old-name": {1: lock_of(declared_as("old-name"))}}

    versions = versions_to_lock(registry, locks, [])

    assert [each.declared.name for each in versions] == ["draft"]
    assert versions_to_lock(registry, locks, [Target("locked", None)]) == []


def test_locked_version_that_was_changed_is_not_locked_again() -> None:
    registry = registry_of(declared_as(NAME, n=int))
    locks = {NAME: {1: lock_of(declared_as(NAME, n=str))}}

    with pytest.raises(
        fait.UsageError, match=r"version 1 of 'shop.order-placed' was locked on 2026-11-29, and the class"
    ):
        versions_to_lock(registry, locks, [Target(NAME, 1)])


def test_only_the_current_version_can_be_locked() -> None:
    with pytest.raises(fait.UsageError, match=r"'shop.order-placed' has version 2, not 1"):
        versions_to_lock(registry_of(declared_as(NAME, 2)), {}, [Target(NAME, 1)])


def test_earlier_version_is_locked_from_a_class_outside_of_the_app() -> None:
    registry = registry_of(declared_as(NAME, 3, n=int))

    versions = [
        earlier_version(registry, {}, declared_as(NAME, 2, n=int, m=int)),
        earlier_version(registry, {}, declared_as(NAME, 1, k=int, m=int)),
        *versions_to_lock(registry, {}, []),
    ]
    made = make_locks(versions, {}, today="2026-12-01")

    assert [(each.version, each.reserved) for each in made] == [(1, ()), (2, ("k",)), (3, ("k", "m"))]


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("shop.other", 1, "'shop.other' is the name of no event type of the app"),
        (NAME, 3, "has version 3, so version 3 is no earlier one"),
        (NAME, 1, r"version 1 of 'shop.order-placed' was locked on"),
    ],
)
def test_other_class_is_no_earlier_version(name: str, version: int, reason: str) -> None:
    registry, locks = registry_of(declared_as(NAME, 3)), {NAME: {1: lock_of(declared_as(NAME, 1))}}

    with pytest.raises(fait.UsageError, match=reason):
        earlier_version(registry, locks, declared_as(name, version))


def test_replaced_lock_records_the_reason_and_keeps_valid_samples() -> None:
    registry = registry_of(declared_as(NAME, n=int, m=int))
    replaced = msgspec.structs.replace(lock_of(declared_as(NAME, n=int)), samples=({"n": 1}, {"n": 2, "m": 3}))

    version = version_to_replace(registry, {NAME: {1: replaced}}, Target(NAME, 1), " never deployed ")
    lock = make_lock(version, {NAME: {1: replaced}}, today="2026-12-01")

    assert lock.replacements == (f"2026-12-01 {replaced.fingerprint}: never deployed",)
    assert (lock.samples[0], len(lock.samples), lock.locked_on) == ({"n": 2, "m": 3}, 3, "2026-12-01")


def test_lock_is_replaced_only_with_a_change_and_a_reason() -> None:
    cls, locks = declared_as(NAME), {NAME: {1: lock_of(declared_as(NAME, n=int))}}

    with pytest.raises(fait.UsageError, match="--replace needs the reason"):
        version_to_replace(registry_of(cls), locks, Target(NAME, 1), " ")
    with pytest.raises(fait.UsageError, match=r"version 1 of .* has no lock to replace"):
        version_to_replace(registry_of(cls), {}, Target(NAME, 1), "reason")
    with pytest.raises(fait.UsageError, match=r"the class .* is as it was locked"):
        version_to_replace(registry_of(cls), {NAME: {1: lock_of(cls)}}, Target(NAME, 1), "reason")


@pytest.mark.parametrize(
    ("text", "target"), [("a", Target("a", None)), ("a@2", Target("a", 2)), ("b@1", Target("b@1", None))]
)
def test_target_names_a_type_and_a_version(text: str, target: Target) -> None:
    assert parse_target(text, ["a", "b@1"]) == target


@pytest.mark.parametrize("text", ["shop.paid@", "shop.paid@two", "shop.piad", "shop.piad@1"])
def test_unknown_target_is_refused_with_the_closest_name(text: str) -> None:
    with pytest.raises(fait.UsageError, match=r"The closest name is 'shop.paid'"):
        parse_target(text, ["shop.paid", "crm.changed"])
