"""What is said about two definitions: by name, in a bounded number of parts."""

import msgspec

import fait
from fait._decisions.definition_hash import walk_fold
from fait._decisions.definition_parts import DefinitionParts, bounded, find_differences, parts_from_json, parts_to_json
from fait._events.registry import Registry

EQUAL = "code that it uses, although all stored parts of the definition are equal"


def code(**parts: str) -> DefinitionParts:
    return DefinitionParts(code=parts)


def test_changed_new_and_former_code_is_named() -> None:
    before, now = code(a="1", b="1", c="1", gone="2"), code(a="2", b="2", c="1", new="3")

    assert find_differences(before, now) == (
        "the code of a and b",
        "the code of new (new)",
        "the code of gone (no longer used)",
    )


def test_moved_code_is_no_difference() -> None:
    assert find_differences(code(a="1", before="2"), code(a="3", after="2")) == ("the code of a",)


def test_equal_parts_say_that_code_differs() -> None:
    assert find_differences(code(a="1"), code(a="1")) == (EQUAL,)


def test_another_python_is_named_in_place_of_the_code_that_it_compiles() -> None:
    before = DefinitionParts({"Python": "cpython-312", "fields": "1"}, {"n": "text"}, {"e": "version 1, 1"}, {"a": "1"})
    now = DefinitionParts({"Python": "cpython-313", "fields": "2"}, {"n": "date"}, {"e": "version 1, 2"}, {"a": "2"})

    assert find_differences(before, now) == ("column n (date, was text)", "Python (cpython-313, was cpython-312)")


def test_another_form_of_hashes_is_named() -> None:
    before, now = (DefinitionParts({"format": number}, code={"a": number}) for number in "34")

    assert find_differences(before, now) == ("how this version of fait computes definition hashes",)


def test_changed_column_hides_that_the_class_has_changed() -> None:
    before = DefinitionParts({"fields": "1"}, {"n": "text"})

    assert find_differences(before, DefinitionParts({"fields": "2"}, {"n": "date"})) == ("column n (date, was text)",)
    assert find_differences(before, DefinitionParts({"fields": "2"}, {"n": "text"})) == (
        "the types or defaults of its fields",
    )


def test_parts_of_a_large_definition_are_bounded_and_the_others_share_a_hash() -> None:
    names = {"x" * 500 + str(number): "12345678" for number in range(101)} | {
        f"{number:03}": "12345678" for number in range(900)
    }
    before, same = (DefinitionParts(code=bounded(names)) for _ in range(2))
    now = DefinitionParts(code=bounded({**names, "899": "2"}))
    first = DefinitionParts(code=bounded({"new": "1", **names}))

    assert len(parts_to_json(before)) < 20_000
    assert find_differences(before, same) == (EQUAL,)
    assert find_differences(before, now) == ("the code of others",)
    assert find_differences(before, first) == ("the code of others",)


def test_long_lists_of_names_end_with_a_number() -> None:
    before, now = (code(**{f"n{number:02}": version for number in range(14)}) for version in "12")

    assert find_differences(before, now) == (
        "the code of n00, n01, n02, n03, n04, n05, n06, n07, n08, n09 and 4 others",
    )
    error = fait.ReadModelChanged("m", [f"column c{number} (new)" for number in range(12)])
    assert "column c9 (new) and 2 others. Nothing was changed" in str(error)
    assert len(error.differences) == 12


def test_parts_survive_the_store() -> None:
    parts = DefinitionParts({"key": "id"}, {"id": "text"}, {"e": "version 1, 1"}, {"a": "1"})

    assert parts_from_json(parts_to_json(parts)) == parts
    assert parts_to_json(DefinitionParts()) == ""
    assert [parts_from_json(text) for text in ("", "{", '{"code": 1}')] == [None] * 3
    assert parts_from_json(msgspec.json.encode({"later": 1}).decode()) == DefinitionParts()


RATE = 2


class Doubled:
    limit = 3

    def value(self, number: int) -> int:
        return number * RATE


def doubled(number: int) -> int:
    return Doubled().value(number)


def test_content_of_a_function_does_not_depend_on_what_else_is_walked() -> None:
    def evolve(state: int, event: object) -> int:
        return doubled(state) + RATE

    def other(state: int, event: object) -> int:
        return Doubled().value(3) + doubled(RATE)

    parts = [walk_fold(each, None, (), Registry()).parts().code for each in (evolve, other)]

    names = {"RATE", "Doubled", "Doubled.value", "doubled"}
    assert [each.keys() for each in parts] == [names | {"evolve"}, names | {"other"}]
    assert {name: parts[0][name] for name in names} == {name: parts[1][name] for name in names}
