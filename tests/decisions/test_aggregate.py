"""Aggregates: declaration, and use without a store."""

import pytest

import fait
from fait._decisions.aggregate import command_of, describe_aggregate, fold_definition_of


@fait.event("lamp.switched")
class Switched:
    on: bool


@fait.event("lamp.broken")
class Broken:
    pass


class Lamp(fait.Aggregate, category="lamp"):
    on: bool = False

    def switch(self) -> bool:
        self.emit(Switched(not self.on))
        return self.on

    def evolve(self, event: Switched) -> None:
        self.on = event.on


class Bright(Lamp, category="bright"):
    pass


def test_fold_of_events_returns_the_state() -> None:
    assert fait.fold(Lamp, [Switched(True), Switched(False), Switched(True)]) == Lamp(on=True)


def test_command_changes_the_state_immediately() -> None:
    assert Lamp().switch() is True


def test_aggregate_has_an_id_and_a_version() -> None:
    lamp = fait.fold(Lamp, [], id="7")

    assert (lamp.id, lamp.version) == ("7", 0)


def test_inherited_command_belongs_to_the_class_it_is_accessed_through() -> None:
    assert command_of(Bright.switch).aggregate is Bright
    assert command_of(Lamp.switch).aggregate is Lamp
    assert fold_definition_of(Bright).category == "bright"


def test_undeclared_attribute_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        Lamp().color = "red"  # type: ignore[attr-defined]


def test_event_that_evolve_does_not_handle_cannot_be_emitted() -> None:
    with pytest.raises(fait.UsageError, match="does not handle Broken"):
        Lamp().emit(Broken())  # type: ignore[arg-type, misc]


def test_emit_of_what_is_no_event_says_so() -> None:
    with pytest.raises(fait.UsageError, match=r"expected an event, got int.*Nothing was written\."):
        Lamp().emit(3)  # type: ignore[arg-type, misc]


def test_evolve_that_handles_no_event_class_is_named() -> None:
    class Odd(fait.Aggregate, category="odd"):
        def evolve(self, event: int) -> None: ...

    app = fait.App("odd")
    app.include(Odd)
    with pytest.raises(fait.DeclarationError, match=r"Odd\.evolve handles int, which is not an event: declare it"):
        app._resolve()


def test_handler_of_no_event_class_is_named() -> None:
    app = fait.App("odd")

    @app.on(str)
    async def greet(event: str) -> None: ...

    with pytest.raises(fait.DeclarationError, match="handler 'greet' handles str, which is not an event"):
        app._resolve()


def test_events_may_be_local_quoted_or_defined_later() -> None:
    @fait.event("local.happened")
    class Happened:
        pass

    class Local(fait.Aggregate, category="local"):
        def evolve(self, event: "Happened | Later") -> None: ...

    @fait.event("local.later")
    class Later:
        pass

    with pytest.raises(fait.DeclarationError, match="Later"):
        _ = describe_aggregate(Local).fold.events

    class Earlier(fait.Aggregate, category="earlier"):
        def evolve(self, event: "Happened | Later") -> None: ...

    assert describe_aggregate(Earlier).fold.events == (Happened, Later)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"__annotations__": {"size": int}}, "fields without a default: size"),
        ({"__annotations__": {"id": str}, "id": ""}, "reserves the names id"),
        ({"__post_init__": lambda self: None}, "defines __post_init__"),
        ({"evolve": None}, "needs `def evolve"),
    ],
)
def test_invalid_aggregate_class_raises_declaration_error(body: dict[str, object], message: str) -> None:
    def evolve(self: object, event: Switched) -> None: ...

    with pytest.raises(fait.DeclarationError, match=message):
        type(fait.Aggregate)(
            "Wrong", (fait.Aggregate,), {"evolve": evolve, "__module__": "x", **body}, category="wrong"
        )


@pytest.mark.parametrize("category", ["", "a-b", "a\0"])
def test_invalid_category_is_refused(category: str) -> None:
    with pytest.raises(fait.FaitError):

        class _Wrong(fait.Aggregate, category=category):
            def evolve(self, event: Switched) -> None: ...


def test_two_aggregates_of_one_category_are_refused() -> None:
    class Other(fait.Aggregate, category="lamp"):
        def evolve(self, event: Switched) -> None: ...

    app = fait.App("two")
    app.include(Lamp, Other)
    with pytest.raises(fait.DeclarationError, match=r"'lamp': .*\.Lamp and .*\.Other\. Rename one"):
        app._resolve()


def test_two_events_of_one_name_are_refused_and_both_places_named() -> None:
    @fait.event("lamp.switched")
    class Another:
        on: int

    app = fait.App("two")
    app.include(Lamp, Another)
    with pytest.raises(fait.DeclarationError, match=r"Switched \(test_aggregate.py:\d+\) and .*Another \(test_aggr"):
        app._resolve()
