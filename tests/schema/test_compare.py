"""The table of changes and verdicts: each everyday change of a JSON Schema, for a new reader and for an old one.

The first verdict is the one for a new version of an event (`backward`), the second one that for its consumers
(`forward`): a reader of the old version that gets data of the new one, and ignores members that it does not know.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from fait.schema import Difference, Verdict, compare, worst_verdict

READABLE, DECLARE, TRUST, CONVERT = Verdict.READABLE, Verdict.DECLARE, Verdict.TRUST, Verdict.CONVERT
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
NULL: Schema = {"type": "null"}


def an_object(required: Mapping[str, Any] = {}, optional: Mapping[str, Any] = {}, **keywords: Any) -> Schema:
    closed = {"additionalProperties": False}
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": list(required), **closed, **keywords}


def one(schema: Any, **keywords: Any) -> Schema:
    """A closed object with one required property."""
    return an_object({"a": schema}, **keywords)


def tagged(tag: str, **members: Any) -> Schema:
    return an_object({"kind": {"const": tag}, **members})


def defined(name: str, schema: Schema) -> Schema:
    return one({"$ref": f"#/$defs/{name}"}, **{"$defs": {name: schema}})


A = an_object({"a": TEXT})
OPEN = {"additionalProperties": True}
ONE_B = an_object({"a": TEXT}, {"b": TEXT})
CARD, CASH, BILL = tagged("card", number=TEXT), tagged("cash"), tagged("bill", due=INTEGER)
CARD_WITH_NOTE = an_object({"kind": {"const": "card"}, "number": TEXT}, {"note": TEXT})
CARD_RETAGGED = tagged("credit", number=TEXT)

MEMBERS = [
    ("add optional", A, ONE_B, READABLE, READABLE),
    ("add optional with default", A, an_object({"a": TEXT}, {"b": {**TEXT, "default": "x"}}), READABLE, READABLE),
    ("add required", A, an_object({"a": TEXT, "b": TEXT}), CONVERT, READABLE),
    ("add required with default", A, an_object({"a": TEXT, "b": {**TEXT, "default": "x"}}), READABLE, READABLE),
    ("add with empty schema", A, an_object({"a": TEXT}, {"b": {}}), READABLE, READABLE),
    ("remove optional", ONE_B, A, DECLARE, READABLE),
    ("remove required", an_object({"a": TEXT, "b": TEXT}), A, DECLARE, CONVERT),
    ("rename optional", ONE_B, an_object({"a": TEXT}, {"c": TEXT}), DECLARE, READABLE),
    ("rename required", one(TEXT), an_object({"c": TEXT}), CONVERT, CONVERT),
    ("optional to required", ONE_B, an_object({"a": TEXT, "b": TEXT}), CONVERT, READABLE),
    (
        "optional to required with default",
        an_object({}, {"b": {**TEXT, "default": "x"}}),
        an_object({"b": {**TEXT, "default": "x"}}),
        READABLE,
        READABLE,
    ),
    ("required to optional", an_object({"a": TEXT, "b": TEXT}), ONE_B, READABLE, CONVERT),
]


def in_both_models() -> list[Any]:
    """Each change of members in closed and in open objects: the verdicts are the same."""
    return [
        pytest.param(opened(old, model), opened(new, model), backward, forward, id=f"{name} ({model})")
        for name, old, new, backward, forward in MEMBERS
        for model in ("closed", "open")
    ]


def opened(schema: Schema, model: str) -> Schema:
    return {**schema, **OPEN} if model == "open" else schema


# name, old, new, backward, forward; an old schema and a new one as the schema of one property
CHANGES: list[tuple[str, Any, Any, Verdict, Verdict]] = [
    ("map value string to integer", {"type": "object", "additionalProperties": TEXT},
     {"type": "object", "additionalProperties": INTEGER}, CONVERT, CONVERT),
    ("map value integer to number", {"type": "object", "additionalProperties": INTEGER},
     {"type": "object", "additionalProperties": NUMBER}, READABLE, CONVERT),
    ("string to integer", TEXT, INTEGER, CONVERT, CONVERT),
    ("integer to number", INTEGER, NUMBER, READABLE, CONVERT),
    ("number to integer", NUMBER, INTEGER, CONVERT, READABLE),
    ("make nullable", TEXT, {"type": ["string", "null"]}, READABLE, CONVERT),
    ("make non-null", {"type": ["string", "null"]}, TEXT, CONVERT, READABLE),
    ("make nullable via anyOf", TEXT, {"anyOf": [TEXT, NULL]}, READABLE, CONVERT),
    ("make non-null via anyOf", {"anyOf": [TEXT, NULL]}, TEXT, CONVERT, READABLE),
    ("widen nullable", {"anyOf": [INTEGER, NULL]}, {"anyOf": [NUMBER, NULL]}, READABLE, CONVERT),
    ("enum add value", {"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}, READABLE, CONVERT),
    ("enum remove value", {"enum": ["a", "b"]}, {"enum": ["a"]}, CONVERT, READABLE),
    ("typed enum add value", {**TEXT, "enum": ["a", "b"]}, {**TEXT, "enum": ["a", "b", "c"]}, READABLE, CONVERT),
    ("typed enum remove value", {**TEXT, "enum": ["a", "b"]}, {**TEXT, "enum": ["a"]}, CONVERT, READABLE),
    ("string to enum", TEXT, {**TEXT, "enum": ["a"]}, CONVERT, READABLE),
    ("enum to string", {**TEXT, "enum": ["a"]}, TEXT, READABLE, CONVERT),
    ("bare enum to string", {"enum": ["a"]}, TEXT, READABLE, CONVERT),
    ("const change", {"const": "a"}, {"const": "b"}, CONVERT, CONVERT),
    ("const to enum containing it", {"const": "a"}, {"enum": ["a", "b"]}, READABLE, CONVERT),
    ("typed const change", {**TEXT, "const": "a"}, {**TEXT, "const": "b"}, CONVERT, CONVERT),
    ("default changed", {**TEXT, "default": "a"}, {**TEXT, "default": "b"}, READABLE, READABLE),
    ("default removed", {**TEXT, "default": "a"}, TEXT, READABLE, READABLE),
    ("default added", TEXT, {**TEXT, "default": "a"}, READABLE, READABLE),
    ("format added", TEXT, {**TEXT, "format": "date-time"}, CONVERT, READABLE),
    ("format changed", {**TEXT, "format": "date-time"}, {**TEXT, "format": "uuid"}, CONVERT, CONVERT),
    ("format removed", {**TEXT, "format": "date-time"}, TEXT, READABLE, CONVERT),
    ("contentEncoding added", TEXT, {**TEXT, "contentEncoding": "base64"}, CONVERT, READABLE),
    ("pattern added", TEXT, {**TEXT, "pattern": "^a"}, TRUST, READABLE),
    ("pattern changed", {**TEXT, "pattern": "^a"}, {**TEXT, "pattern": "^[ab]"}, TRUST, TRUST),
    ("pattern removed", {**TEXT, "pattern": "^a"}, TEXT, READABLE, TRUST),
    ("multipleOf 2 to 4", {**INTEGER, "multipleOf": 2}, {**INTEGER, "multipleOf": 4}, TRUST, READABLE),
    ("multipleOf 4 to 2", {**INTEGER, "multipleOf": 4}, {**INTEGER, "multipleOf": 2}, READABLE, TRUST),
    ("multipleOf 4 to 3", {**INTEGER, "multipleOf": 4}, {**INTEGER, "multipleOf": 3}, TRUST, TRUST),
    ("items string to integer", {"type": "array", "items": TEXT}, {"type": "array", "items": INTEGER}, CONVERT,
     CONVERT),
    ("items integer to number", {"type": "array", "items": INTEGER}, {"type": "array", "items": NUMBER}, READABLE,
     CONVERT),
    ("items constraint added", {"type": "array"}, {"type": "array", "items": TEXT}, CONVERT, READABLE),
    ("items removed", {"type": "array", "items": TEXT}, {"type": "array"}, READABLE, CONVERT),
    ("scalar to array", TEXT, {"type": "array", "items": TEXT}, CONVERT, CONVERT),
    ("maxItems lowered", {"type": "array", "maxItems": 5}, {"type": "array", "maxItems": 3}, TRUST, READABLE),
    ("minItems raised", {"type": "array", "minItems": 1}, {"type": "array", "minItems": 2}, TRUST, READABLE),
    ("uniqueItems added", {"type": "array", "items": TEXT}, {"type": "array", "items": TEXT, "uniqueItems": True},
     TRUST, READABLE),
    ("uniqueItems removed", {"type": "array", "items": TEXT, "uniqueItems": True}, {"type": "array", "items": TEXT},
     READABLE, TRUST),
    ("tuple element type changed", {"type": "array", "prefixItems": [TEXT], "items": False},
     {"type": "array", "prefixItems": [INTEGER], "items": False}, CONVERT, CONVERT),
    ("tuple element appended", {"type": "array", "prefixItems": [TEXT], "items": False},
     {"type": "array", "prefixItems": [TEXT, INTEGER], "items": False}, CONVERT, CONVERT),
    ("nested: add optional", A, ONE_B, READABLE, READABLE),
    ("nested: add required", A, an_object({"a": TEXT, "b": TEXT}), CONVERT, READABLE),
    ("nested: remove property", ONE_B, A, DECLARE, READABLE),
    ("nested: optional to required", ONE_B, an_object({"a": TEXT, "b": TEXT}), CONVERT, READABLE),
    ("nested: change type", A, one(INTEGER), CONVERT, CONVERT),
    ("flatten nested object", A, TEXT, CONVERT, CONVERT),
    *(
        (f"{keyword}: {name}", wrapped(keyword, old), wrapped(keyword, new), backward, forward)
        for keyword in ("oneOf", "anyOf")
        for wrapped in (lambda word, branches: branches[0] if len(branches) == 1 else {word: branches},)
        for name, old, new, backward, forward in [
            ("add branch", [CARD, CASH], [CARD, CASH, BILL], READABLE, CONVERT),
            ("remove branch", [CARD, CASH, BILL], [CARD, CASH], CONVERT, READABLE),
            ("optional field added in a branch", [CARD, CASH], [CARD_WITH_NOTE, CASH], READABLE, READABLE),
            ("branch retagged", [CARD, CASH], [CARD_RETAGGED, CASH], CONVERT, CONVERT),
            ("single object to union", [CARD], [CARD, CASH], READABLE, CONVERT),
            ("union to one of its members", [CARD, CASH], [CARD], CONVERT, READABLE),
        ]
    ),
]  # fmt: skip

LIMITS = [
    ("minLength", TEXT, 2, 3, -1),
    ("maxLength", TEXT, 3, 2, 1),
    ("minimum", INTEGER, 2, 3, -1),
    ("maximum", INTEGER, 3, 2, 1),
    ("exclusiveMinimum", INTEGER, 2, 3, -1),
    ("exclusiveMaximum", INTEGER, 3, 2, 1),
]


def limit_changes() -> list[Any]:
    """Each limit added, removed, tightened and loosened."""
    changes: list[Any] = []
    for keyword, base, loose, tight, _ in LIMITS:
        without, looser, tighter = base, {**base, keyword: loose}, {**base, keyword: tight}
        changes += [
            pytest.param(one(without), one(looser), TRUST, READABLE, id=f"{keyword} added"),
            pytest.param(one(looser), one(without), READABLE, TRUST, id=f"{keyword} removed"),
            pytest.param(one(looser), one(tighter), TRUST, READABLE, id=f"{keyword} tightened"),
            pytest.param(one(tighter), one(looser), READABLE, TRUST, id=f"{keyword} loosened"),
        ]
    return changes


REFERENCES = [
    pytest.param(defined("B", A), defined("B", ONE_B), READABLE, READABLE, id="$ref target: add optional"),
    pytest.param(defined("B", A), defined("B", one(INTEGER)), CONVERT, CONVERT, id="$ref target: change type"),
]

TABLE = [
    *in_both_models(),
    *(pytest.param(one(old), one(new), back, forth, id=name) for name, old, new, back, forth in CHANGES),
    *limit_changes(),
    *REFERENCES,
]


@pytest.mark.parametrize(("old", "new", "backward", "forward"), TABLE)
def test_change_has_verdict_for_new_and_for_old_readers(
    old: Schema, new: Schema, backward: Verdict, forward: Verdict
) -> None:
    assert worst_verdict(compare(old, new)) is backward
    assert worst_verdict(compare(old, new, "forward")) is forward
    assert compare(old, new) != []


@pytest.mark.parametrize(("old", "new", "backward", "forward"), TABLE)
def test_full_comparison_is_both_directions(old: Schema, new: Schema, backward: Verdict, forward: Verdict) -> None:
    assert compare(old, new, "full") == compare(old, new, "backward") + compare(old, new, "forward")


SAME = {
    "nullable spelling": (one({"type": ["string", "null"]}), one({"anyOf": [TEXT, NULL]})),
    "enum reorder": (one({"enum": ["a", "b"]}), one({"enum": ["b", "a"]})),
    "description changed": (one({**TEXT, "description": "a"}), one({**TEXT, "title": "b"})),
    "equal set of integers": (one({**INTEGER, "minimum": 5}), one({**INTEGER, "exclusiveMinimum": 4})),
    "definition renamed": (defined("B", A), defined("C", A)),
    "inline to reference": (one(A), defined("B", A)),
    "oneOf reorder": (one({"oneOf": [CARD, CASH]}), one({"oneOf": [CASH, CARD]})),
    "anyOf reorder": (one({"anyOf": [CARD, CASH]}), one({"anyOf": [CASH, CARD]})),
    "oneOf to anyOf": (one({"oneOf": [CARD, CASH]}), one({"anyOf": [CARD, CASH]})),
    "open to closed": ({**A, **OPEN}, A),
    "closed to open": (A, {**A, **OPEN}),
    "const to enum of one": (one({"const": 1}), one({"enum": [1.0]})),
}


@pytest.mark.parametrize("name", SAME)
def test_other_spelling_of_the_same_values_is_no_difference(name: str) -> None:
    old, new = SAME[name]

    assert compare(old, new, "full") == []


def test_open_object_with_typed_further_members_is_readable() -> None:
    assert worst_verdict(compare({**A, **OPEN}, {**A, "additionalProperties": TEXT})) is READABLE


@pytest.mark.parametrize(("old", "new", "backward", "forward"), TABLE)
def test_every_value_shown_is_valid_for_the_writer_and_breaks_the_reader(
    old: Schema, new: Schema, backward: Verdict, forward: Verdict
) -> None:
    for difference in compare(old, new, "full"):
        if difference.value is not msgspec.UNSET:
            assert difference.verdict is not READABLE
            assert isinstance(difference.value, dict)


NO_VALUE = {"pattern changed", "pattern removed", "tuple element appended"}


@pytest.mark.parametrize(("old", "new", "backward", "forward"), [each for each in TABLE if each.id not in NO_VALUE])
def test_difference_that_is_not_readable_shows_a_value_that_breaks(
    old: Schema, new: Schema, backward: Verdict, forward: Verdict
) -> None:
    without = [
        difference
        for difference in compare(old, new, "full")
        if difference.verdict is not READABLE and difference.value is msgspec.UNSET
    ]

    assert without == []


def only(differences: list[Difference]) -> Difference:
    assert len(differences) == 1, differences
    return differences[0]


def test_difference_names_path_rule_and_value() -> None:
    line = one({"type": "array", "items": an_object({"currency": {"enum": ["EUR", "USD"]}})})
    without_usd = one({"type": "array", "items": an_object({"currency": {"enum": ["EUR"]}})})

    assert only(compare(line, without_usd)) == Difference(
        path="$.a[].currency",
        rule="values-removed",
        verdict=CONVERT,
        explanation='the new version does not have "USD"',
        direction="backward",
        value={"a": [{"currency": "USD"}]},
    )


def test_forward_difference_names_the_change_from_old_to_new() -> None:
    difference = only(compare(one({"enum": ["a"]}), one({"enum": ["a", "b"]}), "forward"))

    assert difference.rule == "values-added"
    assert difference.explanation == 'the old version does not have "b"'
    assert (difference.direction, difference.value) == ("forward", {"a": "b"})


def test_removed_member_suggests_the_new_one_of_the_same_type() -> None:
    old, new = an_object({}, {"customer_name": TEXT}), an_object({}, {"customer": TEXT, "count": INTEGER})
    removed = next(each for each in compare(old, new) if each.rule == "member-removed")

    assert removed.path == "$.customer_name"
    assert removed.explanation == (
        "the new version does not have customer_name: its values would be lost silently; was it renamed to customer?"
    )
    assert removed.value == {"customer_name": ""}


@pytest.mark.parametrize(
    "keyword", ["if", "not", "patternProperties", "dependentRequired", "unevaluatedProperties", "contains", "nullable"]
)
def test_unknown_keyword_is_incompatible(keyword: str) -> None:
    difference = only(compare(one(TEXT), one({**TEXT, keyword: {}})))

    assert (difference.rule, difference.verdict) == ("not-understood", Verdict.UNKNOWN)
    assert (difference.path, keyword in difference.explanation) == ("$.a", True)


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [TEXT, {"type": "string", "minLength": 1}]},
        {"oneOf": [INTEGER, NUMBER]},
        {"anyOf": [TEXT, NULL], "minLength": 1},
        {"$ref": "https://example.com/other.json"},
        {"$ref": "#/properties/a"},
        {"minimum": 1},
        {"properties": {}},
        {"type": "object", "required": ["b"]},
        {"enum": [["a"]]},
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
    ],
)
def test_combination_that_is_not_understood_is_incompatible(schema: Schema) -> None:
    assert worst_verdict(compare(one(TEXT), one(schema))) is Verdict.UNKNOWN
    assert worst_verdict(compare(one(schema), one({**schema, "description": "another"}))) is Verdict.UNKNOWN


def test_equal_schemas_have_no_difference_even_if_they_are_not_understood() -> None:
    assert compare(one({"if": {}}), one({"if": {}})) == []


def test_recursive_union_is_compared() -> None:
    def tree(leaf: Schema) -> Schema:
        node = {"$ref": "#/$defs/Node"}
        branch = an_object({"kind": {"const": "branch"}, "left": node, "right": node})
        return {"$ref": "#/$defs/Node", "$defs": {"Node": {"oneOf": [tagged("leaf", value=leaf), branch]}}}

    assert compare(tree(INTEGER), {**tree(INTEGER), "title": "Tree"}) == []
    difference = only(compare(tree(INTEGER), tree(TEXT)))
    assert (difference.path, difference.value) == ("$.value", {"kind": "leaf", "value": 0})
