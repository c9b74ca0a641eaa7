"""Upcasters and downcasters: declared changes, the resolution of steps, and what is refused."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import fait
from fait._declarations import declared_objects
from fait._events.registry import Registry, build_registry


@fait.event("path.opened", version=3, was=("path.begun",))
class Opened:
    name: str


@fait.event("path.closed")
class Closed:
    name: str


def same(data: dict[str, Any]) -> dict[str, Any]:
    return data


# Declared changes


@pytest.mark.parametrize(
    ("change", "data", "expected"),
    [
        (fait.renamed("a", "b"), {"a": 1, "c": 2}, {"b": 1, "c": 2}),
        (fait.renamed("a", "b"), {"a": None}, {"b": None}),
        (fait.renamed("a", "b"), {"c": 2}, {"c": 2}),
        (fait.renamed("a", "b"), {"a": 1, "b": 2}, {"b": 1}),
        (fait.renamed("who.name", "first"), {"who": {"name": "x"}}, {"who": {"first": "x"}}),
        (fait.renamed("lines[].id", "sku"), {"lines": [{"id": 1}, {"n": 2}]}, {"lines": [{"sku": 1}, {"n": 2}]}),
        (fait.renamed("by_name[].id", "sku"), {"by_name": {"x": {"id": 1}}}, {"by_name": {"x": {"sku": 1}}}),
        (fait.renamed("rows[][].a", "b"), {"rows": [[{"a": 1}]]}, {"rows": [[{"b": 1}]]}),
        (fait.renamed("who.name", "first"), {"who": None}, {"who": None}),
        (fait.renamed("who[].name", "first"), {"who": 3}, {"who": 3}),
        (fait.dropped("a"), {"a": 1, "b": 2}, {"b": 2}),
        (fait.dropped("a"), {"b": 2}, {"b": 2}),
        (fait.dropped("lines[].a"), {"lines": [{"a": 1}]}, {"lines": [{}]}),
        (fait.defaulted("a", []), {}, {"a": []}),
        (fait.defaulted("a", 1), {"a": None}, {"a": None}),
        (fait.defaulted("who.a", 1), {"who": {}}, {"who": {"a": 1}}),
    ],
)
def test_declared_change_gives_new_data(change: Any, data: Any, expected: Any) -> None:
    before = repr(data)

    assert change(data) == expected
    assert repr(data) == before


def test_default_is_not_shared_between_events() -> None:
    change = fait.defaulted("tags", ["new"])
    change({})["tags"].append("changed")

    assert change({}) == {"tags": ["new"]}


@pytest.mark.parametrize(
    "declare",
    [
        lambda: fait.renamed("", "a"),
        lambda: fait.renamed("a.", "b"),
        lambda: fait.renamed("a[]", "b"),
        lambda: fait.renamed("who.name", "who.first"),
        lambda: fait.dropped("a..b"),
        lambda: fait.defaulted("[]", 1),
    ],
)
def test_path_that_names_no_field_is_refused(declare: Callable[[], Any]) -> None:
    with pytest.raises(fait.DeclarationError):
        declare()


def test_several_changes_of_one_version_are_applied_in_order() -> None:
    upcaster = fait.upcast("path.opened", 1, fait.renamed("a", "b"), lambda data: {**data, "n": 1}, fait.dropped("b"))

    assert upcaster({"a": 1}) == {"n": 1}
    assert upcaster.steps[0] == fait.Renamed("a", "b")


# Resolution


def read_as(registry: Registry, name: str, schema_version: int, data: Any) -> list[tuple[str, Any]]:
    conversion = registry.conversion(name, schema_version)
    return [(each.type, each.data) for each in registry.convert_data(conversion, data)]


def test_upcasters_of_former_names_are_those_of_the_type() -> None:
    first = fait.upcast("path.begun", 1, fait.renamed("a", "b"))
    second = fait.upcast("path.opened", 2, fait.renamed("b", "name"))
    registry = build_registry([Opened], [first, second])

    assert read_as(registry, "path.begun", 1, {"a": 1}) == [("path.opened", {"name": 1})]
    assert read_as(registry, "path.opened", 1, {"a": 1}) == [("path.opened", {"name": 1})]
    assert registry.conversion("path.begun", 1).steps == (first, second)


def test_retired_type_with_its_own_versions_becomes_another_type() -> None:
    renamed = fait.upcast("path.entered", 2, fait.renamed("who", "name"), to=("path.opened", 2))
    registry = build_registry([Opened], [renamed])

    assert read_as(registry, "path.entered", 1, {"who": 1}) == [("path.opened", {"name": 1})]
    assert registry.names.of(["path.opened"]) == {"path.opened", "path.begun", "path.entered"}
    assert registry.handled_types([Opened]).query.types == ("path.begun", "path.entered", "path.opened")


def test_result_of_a_split_may_be_split_or_dropped() -> None:
    @fait.upcast("path.all", 1, into=("path.some", "path.closed", "path.none"))
    def split(data: Any) -> list[fait.Untyped]:
        return [fait.Untyped("path.some", data), fait.Untyped("path.none", data), fait.Untyped("path.closed", data)]

    @fait.upcast("path.some", 1, into=("path.opened",))
    def again(data: Any) -> list[fait.Untyped]:
        return [fait.Untyped("path.opened", {"name": number}, 3) for number in range(2)]

    registry = build_registry([Opened, Closed], [split, again, fait.drop_event("path.none", 1)])

    assert read_as(registry, "path.all", 1, {"name": 7}) == [
        ("path.opened", {"name": 0}),
        ("path.opened", {"name": 1}),
        ("path.closed", {"name": 7}),
    ]


def test_downcasters_convert_a_newer_version_step_by_step() -> None:
    registry = build_registry(
        [Opened], [fait.downcast("path.opened", 5, fait.renamed("c", "b")), fait.downcast("path.opened", 4)(same)]
    )

    assert read_as(registry, "path.begun", 5, {"c": 1}) == [("path.opened", {"b": 1})]
    with pytest.raises(fait.EventTooNew, match=r"include an @fait\.downcast\('path\.opened', 6\)"):
        registry.conversion("path.opened", 6, "x-1", 1)


def test_newer_version_of_a_retired_type_is_too_new() -> None:
    registry = build_registry([Opened], [fait.drop_event("path.none", 2)])

    with pytest.raises(fait.EventTooNew, match="its last upcaster reads version 2"):
        registry.conversion("path.none", 3, "x-1", 1)
    with pytest.raises(fait.UnknownEventType):
        registry.conversion("path.never", 1, "x-1", 1)


def test_error_for_an_unknown_type_names_stream_closest_type_and_what_to_do() -> None:
    registry = build_registry([Opened])

    with pytest.raises(fait.UnknownEventType) as raised:
        registry.conversion("path.openned", 1, "x-1", 12)

    assert str(raised.value) == (
        "cannot decode event 12 of stream 'x-1' ('path.openned'): no included event class has that name. A newer "
        "version of the app may have stored it: deploy that one. Otherwise include its class in the app, with "
        "app.include(...). The closest is 'path.opened': a renamed class has was=('path.openned',)"
    )


def test_error_for_a_newer_version_names_stream_versions_and_what_to_do() -> None:
    registry = build_registry([Opened])

    with pytest.raises(fait.EventTooNew) as raised:
        registry.conversion("path.opened", 9, "x-1", 12)

    assert str(raised.value) == (
        "cannot decode event 12 of stream 'x-1' ('path.opened'): it has schema version 9, but its class declares "
        "version 3. Newer code wrote it: deploy that code here too, or include an @fait.downcast('path.opened', 9)"
    )


def test_split_with_an_undeclared_result_raises_declaration_error() -> None:
    @fait.upcast("path.all", 1, into=("path.closed",))
    def split(data: Any) -> list[Any]:
        return [fait.Untyped("path.opened", data)]

    @fait.upcast("path.all", 2, into=("path.closed",))
    def class_(data: Any) -> list[Any]:
        return [Closed("x")]

    registry = build_registry([Opened, Closed], [split, class_])
    with pytest.raises(fait.DeclarationError, match=r"returned 'path\.opened' for version 1 of 'path\.all'"):
        read_as(registry, "path.all", 1, {})
    with pytest.raises(fait.DeclarationError, match="returned Closed for version 2"):
        read_as(registry, "path.all", 2, {})


# What is refused


@pytest.mark.parametrize(
    ("upcasters", "message"),
    [
        (lambda: [fait.upcast("path.opened", 3)(same)], "whose current version is 3"),
        (
            lambda: [fait.upcast("path.begun", 1)(same), fait.upcast("path.opened", 1)(same)],
            "two upcasters read version 1",
        ),
        (lambda: [fait.upcast("path.never", 1)(same)], "no included event has that name"),
        (lambda: [fait.upcast("path.gone", 1, same, to=("path.never", 1))], "is for 'path.never'"),
        (
            lambda: [fait.upcast("path.gone", 1, same, to=("path.opened", 4))],
            "no included event has that name and this version",
        ),
        (lambda: [fait.upcast("path.gone", 1, into=("path.closed", "path.never"))(same)], "is for 'path.never'"),
        (lambda: [fait.upcast("path.opened", 2, same, to=("path.begun", 1))], "which is not newer"),
        (
            lambda: [
                fait.upcast("path.a", 1, same, to=("path.b", 1)),
                fait.upcast("path.b", 1, same, to=("path.a", 1)),
            ],
            "path.a",
        ),
        (lambda: [fait.downcast("path.never", 2)(same)], "is for 'path.never'"),
    ],
)
def test_upcaster_that_leads_nowhere_is_refused(upcasters: Callable[[], list[fait.Upcaster]], message: str) -> None:
    with pytest.raises(fait.DeclarationError, match=message):
        build_registry([Opened, Closed], upcasters())


@pytest.mark.parametrize(
    "declare",
    [
        lambda: fait.upcast("path.opened", 0),
        lambda: fait.upcast("path.opened", True),
        lambda: fait.downcast("path.opened", 1),
        lambda: fait.drop_event("path.opened", 0),
        lambda: fait.upcast("path.opened", 1, into=()),
        lambda: fait.upcast("path.opened", 1, into="path.closed"),
        lambda: fait.upcast("path.opened", 1, into=("path.closed",), to=("path.closed", 1)),
        lambda: fait.upcast("path.opened", 1)(lambda a, b, c: a),
        lambda: fait.event("path.x", was="path.y"),
        lambda: fait.event("path.x", was=("path.x",)),
        lambda: fait.event("path.x", was=(" ",)),
    ],
)
def test_invalid_arguments_are_refused(declare: Callable[[], Any]) -> None:
    with pytest.raises(fait.DeclarationError):
        declare()


def test_former_name_of_two_events_is_refused() -> None:
    @fait.event("path.other", was=("path.begun",))
    class Other:
        name: str

    @fait.event("path.begun")
    class Begun:
        name: str

    for second in (Other, Begun):
        with pytest.raises(fait.DeclarationError, match=r"two events are named 'path\.begun'"):
            build_registry([Opened, second])
        with pytest.raises(fait.DeclarationError, match=r"two events are named 'path\.begun'"):
            build_registry([Opened]).handled_types([second])


async def test_event_under_a_former_or_retired_name_cannot_be_appended() -> None:
    app = fait.App("paths")
    app.include(Opened, fait.drop_event("path.none", 1))
    async with app.open("memory:") as s:
        with pytest.raises(fait.UsageError, match=r"it is named 'path\.opened' now"):
            await s.publish(fait.Untyped("path.begun", {"name": "x"}, 3), stream="x-1")
        with pytest.raises(fait.UsageError, match="it has no class any more"):
            await s.publish(fait.Untyped("path.none", {}), stream="x-1")


# Upcasters that are not included


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("pathshop.events")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = (
        "import fait\n"
        "@fait.event('pathshop.sold', version=3)\nclass Sold:\n    pieces: int\n"
        "@fait.upcast('pathshop.sold', 1)\ndef _(data): return {'pieces': 1}\n"
        "@fait.upcast('pathshop.sold', 2)\ndef _(data): return data\n"
        "fait.downcast('pathshop.sold', 4, fait.dropped('gift'))\n"
    )
    exec(compile(source, "events.py", "exec"), module.__dict__)
    return module


def test_upcaster_that_was_not_included_is_reported(module: ModuleType) -> None:
    app = fait.App("pathshop")
    app.include(module.Sold)

    with pytest.raises(
        fait.DeclarationError,
        match=r"events\.py:\d+ reads version 1 of 'pathshop\.sold', but the app does not include it",
    ):
        app._resolve()


def test_module_includes_upcasters_to_which_it_has_no_reference(module: ModuleType) -> None:
    app = fait.App("pathshop")
    app.include(module)
    registry = app._resolve().registry

    assert read_as(registry, "pathshop.sold", 1, {}) == [("pathshop.sold", {"pieces": 1})]
    assert read_as(registry, "pathshop.sold", 4, {"pieces": 2, "gift": True}) == [("pathshop.sold", {"pieces": 2})]
    assert len({id(each) for each in declared_objects(module)}) == 4
