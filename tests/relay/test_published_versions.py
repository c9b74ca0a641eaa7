"""A relay publishes events in an older schema version, for consumers that read no newer one."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fait
from fait._app import declarations_of
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.relay.published_versions import PublishedVersions
from fait._events.registry import build_registry
from fait._evolution.locks.folder import LockFolder
from tests.evolution.event_locks import lock
from tests.inbox.topics import TIME, new_topic, until

NAME = "relay.placed"


@fait.event(NAME)
class Placed1:
    name: str


@fait.event(NAME, version=2)
class Placed2:
    customer: str


@fait.event(NAME, version=3)
class Placed3:
    customer: str
    gift: bool = False


@fait.event("relay.paid")
class Paid:
    pass


to_2 = fait.upcast(NAME, 1, fait.renamed("name", "customer"))
to_1 = fait.downcast(NAME, 2, fait.renamed("customer", "name"))
from_3 = fait.downcast(NAME, 3, fait.dropped("gift"))

EVERY_FORM = {1: '{"name":"ada"}', 2: '{"customer":"ada"}', 3: '{"customer":"ada","gift":true}'}


def stored(version: int, data: str, name: str = NAME) -> fait.RecordedEvent:
    return fait.RecordedEvent(1, "order-1", 1, name, version, "id", data, "{}", (), TIME, TIME)


def relay_of(*events: type, **options: Any) -> RelayDefinition:
    return RelayDefinition("r", events, "memory:x", "orders", None, None, "now", **options)


def published(event: fait.RecordedEvent, version: int, *steps: Any) -> fait.RecordedEvent:
    registry = build_registry([Placed3, Paid], steps or (to_2, to_1, from_3))
    return PublishedVersions(relay_of(Placed3, as_version={Placed3: version}), registry).convert(event)


@pytest.mark.parametrize("from_version", EVERY_FORM)
@pytest.mark.parametrize(
    ("version", "data"), [(1, {"name": "ada"}), (2, {"customer": "ada"}), (3, {"customer": "ada", "gift": True})]
)
def test_event_of_each_stored_version_is_published_in_the_declared_one(
    from_version: int, version: int, data: dict[str, Any]
) -> None:
    result = published(stored(from_version, EVERY_FORM[from_version]), version)

    assert (result.type, result.schema_version, result.id) == (NAME, version, "id")
    assert json.loads(result.data) == {key: value for key, value in data.items() if key != "gift" or from_version == 3}


def test_event_of_the_declared_version_and_other_events_are_published_as_they_are_stored() -> None:
    for event in (stored(2, '{"customer" : "ada"}'), stored(1, "{ }", "relay.paid")):
        assert published(event, 2) is event


def test_result_of_a_downcaster_that_is_no_object_is_refused() -> None:
    wrong = fait.downcast(NAME, 3)(lambda data: None)

    with pytest.raises(fait.MessageRefused, match="version"):
        published(stored(3, EVERY_FORM[3]), 2, to_2, to_1, wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"as_version": 0}, "as_version= is a schema version from 1", id="zero"),
        pytest.param({"as_version": True}, "as_version= is a schema version from 1", id="bool"),
        pytest.param({"as_version": {Placed3: "1"}}, "as_version= is a schema version from 1", id="text"),
        pytest.param(
            {"as_version": {Paid: 1}}, "as_version= names the class Paid, which it does not publish", id="another class"
        ),
        pytest.param({"as_version": {Placed3: 4}}, "as version 4, but its class has version 3", id="newer"),
        pytest.param(
            {"as_version": 1},
            r"converts version 3 to version 2: include an @fait.downcast\('relay.placed', 3\)",
            id="no downcaster",
        ),
    ],
)
def test_version_that_cannot_be_published_is_refused(options: dict[str, Any], message: str) -> None:
    app = fait.App("shop")
    app.include(to_2, to_1)

    def declare() -> None:
        app.relay(Placed3, to="memory:x", topic="orders", **options)
        declarations_of(app)

    with pytest.raises(fait.DeclarationError, match=message):
        declare()


def test_number_needs_the_event_classes() -> None:
    with pytest.raises(fait.DeclarationError, match="needs the event classes"):
        fait.App("shop").relay(category="order", to="memory:x", topic="orders", as_version=1)


def test_version_above_one_that_is_split_is_refused() -> None:
    split = fait.upcast(NAME, 1, into=("relay.paid",))(lambda data: [fait.Untyped("relay.paid", {})])
    app = fait.App("shop")
    app.include(split, from_3, Paid)
    app.relay(Placed3, to="memory:x", topic="orders", as_version=2)

    with pytest.raises(fait.DeclarationError, match="events of version 1 are split or dropped"):
        declarations_of(app)


def test_published_version_must_be_locked_if_the_app_requires_locks(tmp_path: Path) -> None:
    LockFolder(tmp_path).write(lock(Placed3))
    app = fait.App("shop", locks=tmp_path)
    app.include(to_2, to_1, from_3)
    app.relay(Placed3, to="memory:x", topic="orders", as_version=2)

    with pytest.raises(fait.UnlockedEvents, match="version 2, which a relay publishes, is not locked"):
        app._resolve_locked()
    LockFolder(tmp_path).write(lock(Placed2))
    app._resolve_locked()


async def test_consumer_with_the_older_class_gets_its_version() -> None:
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        shop, billing, seen = fait.App("shop"), fait.App("billing"), list[Any]()
        shop.include(to_2, to_1, from_3)
        shop.relay(Placed3, to=topic.url, topic=topic.name, as_version=1, start="beginning")

        @billing.consume(topic.name, from_=topic.url, as_=Placed1)
        async def bill(event: Placed1) -> None:
            seen.append(event)

        async with shop.open("memory:") as system, billing.open("memory:"):
            await system.publish(Placed3("ada", gift=True), stream="order-1")
            await until(lambda: seen)

    assert seen == [Placed1("ada")]


async def test_event_of_newer_code_waits_for_that_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        old, new = fait.App("shop"), fait.App("shop")
        old.include(to_2, to_1)
        old.relay(Placed2, to=topic.url, topic=topic.name, as_version=1, start="beginning")
        new.include(to_2, to_1, from_3, Placed3)
        async with new.open(url) as system:
            await system.publish(Placed3("ada"), stream="order-1")
        async with old.open(url) as system:
            while not isinstance((await system.status())[0].error, fait.EventTooNew):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

            assert await system.store.failures.failures() == []


Shape = tuple[str, ...]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Shape], list[Any]]:
    """Return the members of each version of a type, with an upcaster and a downcaster for each change."""
    shapes, steps = [("a0",)], list[Any]()
    for version in range(1, draw(st.integers(2, 5))):
        last, new = shapes[-1], f"a{version}"
        change = draw(st.sampled_from(["rename", "add", *(["drop"] if len(last) > 1 else [])]))
        chosen = draw(st.sampled_from(last))
        if change == "rename":
            after, up, down = (*(each for each in last if each != chosen), new), (chosen, new), (new, chosen)
            steps += [
                fait.upcast(NAME, version, fait.renamed(*up)),
                fait.downcast(NAME, version + 1, fait.renamed(*down)),
            ]
        elif change == "add":
            after = (*last, new)
            steps += [
                fait.upcast(NAME, version, fait.defaulted(new, 0)),
                fait.downcast(NAME, version + 1, fait.dropped(new)),
            ]
        else:
            after = tuple(each for each in last if each != chosen)
            steps += [
                fait.upcast(NAME, version, fait.dropped(chosen)),
                fait.downcast(NAME, version + 1, fait.defaulted(chosen, 0)),
            ]
        shapes.append(after)
    return shapes, steps


@settings(max_examples=60, deadline=None)
@given(history=histories(), chosen=st.data())
def test_published_event_has_the_members_of_its_version_and_is_read_as_the_current_one(
    history: tuple[list[Shape], list[Any]], chosen: st.DataObject
) -> None:
    shapes, steps = history
    fields = [(name, int) for name in shapes[-1]]
    cls = fait.event(NAME, version=len(shapes))(msgspec.defstruct("Generated", fields, frozen=True))
    registry = build_registry([cls], steps)
    version = chosen.draw(st.integers(1, len(shapes)))
    from_version = chosen.draw(st.integers(1, len(shapes)))
    data = dict.fromkeys(shapes[from_version - 1], 7)

    relay = relay_of(cls, as_version=version)
    result = PublishedVersions(relay, registry).convert(stored(from_version, json.dumps(data)))

    assert result.schema_version == version
    assert set(json.loads(result.data)) == set(shapes[version - 1])
    [current] = registry.convert(result)
    assert set(json.loads(current.data)) == set(shapes[-1])
    msgspec.json.decode(current.data, type=cls)
