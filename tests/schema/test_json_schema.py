"""The JSON Schema of an event type, as other programs get it."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

import fait
from fait.schema import compare, describe, json_schema, worst_verdict


class Currency(Enum):
    EUR = "EUR"
    USD = "USD"


class Money(msgspec.Struct, frozen=True):
    amount: Decimal
    currency: Currency = Currency.EUR


@fait.event("schema.order-placed", version=3)
class OrderPlaced:
    id: UUID
    lines: Annotated[list[Money], Meta(min_length=1)]
    at: datetime | None = None
    tags: set[str] = set()  # noqa: RUF012 - msgspec copies it
    count: Annotated[int, Meta(ge=0)] = 0
    kind: Literal["new", "again"] = "new"
    code: Annotated[bytes, Meta(max_length=4)] = b""
    prices: dict[Currency, float] = {}  # noqa: RUF012 - msgspec copies it
    pair: tuple[int, timedelta] | None = None
    notes: fait.Json = None


ORDER_PLACED = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$ref": "#/$defs/OrderPlaced",
    "$defs": {
        "OrderPlaced": {
            "type": "object",
            "properties": {
                "at": {"anyOf": [{"type": "null"}, {"type": "string", "format": "date-time"}], "default": None},
                "code": {"type": "string", "contentEncoding": "base64", "maxLength": 8, "default": ""},
                "count": {"type": "integer", "minimum": 0, "default": 0},
                "id": {"type": "string", "format": "uuid"},
                "kind": {"enum": ["again", "new"], "default": "new"},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/Money"}, "minItems": 1},
                "notes": {"default": None},
                "pair": {
                    "anyOf": [
                        {"type": "null"},
                        {
                            "type": "array",
                            "prefixItems": [{"type": "integer"}, {"type": "string", "format": "duration"}],
                            "minItems": 2,
                            "items": False,
                        },
                    ],
                    "default": None,
                },
                "prices": {
                    "type": "object",
                    "propertyNames": {"enum": ["EUR", "USD"]},
                    "additionalProperties": {"type": "number"},
                    "default": {},
                },
                "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "default": []},
            },
            "required": ["id", "lines"],
        },
        "Money": {
            "type": "object",
            "properties": {
                "amount": {"type": "string", "format": "decimal"},
                "currency": {"enum": ["EUR", "USD"], "default": "EUR"},
            },
            "required": ["amount"],
        },
    },
}


def in_order(schema: Any) -> Any:
    """The schema with sorted alternatives: their order has no meaning."""
    if isinstance(schema, dict):
        members = {name: in_order(each) for name, each in schema.items()}
        return members | ({"anyOf": sorted(members["anyOf"], key=str)} if "anyOf" in members else {})
    return [in_order(each) for each in schema] if isinstance(schema, list) else schema


def test_json_schema_describes_what_is_stored() -> None:
    assert in_order(json_schema(describe(OrderPlaced))) == in_order(ORDER_PLACED)


def test_closed_json_schema_allows_no_other_members() -> None:
    schema = json_schema(describe(OrderPlaced), closed=True)

    assert [each["additionalProperties"] for each in schema["$defs"].values()] == [False, False]


def test_json_schema_and_description_allow_the_same_values() -> None:
    @fait.event("schema.renamed")
    class Renamed:
        money: Money
        prices: dict[Currency, float]

    description = describe(Renamed)

    assert compare(description, json_schema(description), "full") == []


def test_name_of_a_generic_class_is_escaped_in_references() -> None:
    cls = msgspec.defstruct("A/B~[c]", [("n", int)], frozen=True)
    description = describe(fait.event("schema.escaped")(cls))
    schema = json_schema(description)

    assert schema["$ref"] == "#/$defs/A~1B~0%5Bc%5D"
    assert compare(description, schema, "full") == []


@pytest.mark.parametrize("schema", [{"$ref": "#/$defs/Missing"}, {"type": "array", "items": 3}])
def test_json_schema_that_is_not_valid_is_refused(schema: Any) -> None:
    with pytest.raises(fait.UsageError, match="JSON Schema"):
        compare(schema, {})


def test_json_schema_of_another_type_is_refused() -> None:
    with pytest.raises(fait.UsageError, match="expected a JSON Schema as a dict, got list"):
        compare([], {})  # type: ignore[arg-type]


def test_schemas_without_limits_allow_anything() -> None:
    assert compare({}, {"title": "anything"}, "full") == []
    assert worst_verdict(compare({"type": "integer"}, {})) == "readable"
