"""Types in words, as `fait schema show` prints them."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

import fait
from fait._evolution.locks.members import member_paths
from fait._evolution.locks.wording import type_in_words
from fait._schema.description import Opaque
from fait.schema import describe
from tests.evolution.lock_examples import declared_as


class Line(Struct, frozen=True):
    sku: str


class Currency(Enum):
    EUR = "EUR"
    USD = "USD"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "integer"),
        (Annotated[int, Meta(gt=0, le=100, multiple_of=5)], "integer > 0 <= 100 multiple of 5"),
        (float, "float"),
        (Decimal, "decimal"),
        (bool, "boolean"),
        (Annotated[str, Meta(max_length=3)], "text of up to 3 characters"),
        (Annotated[str, Meta(min_length=1, max_length=3, pattern="^a")], "text of 1 to 3 characters with ^a"),
        (Annotated[bytes, Meta(min_length=2)], "base64 of at least 2 bytes"),
        (datetime, "date-time"),
        (Currency, '"EUR" | "USD"'),
        (Literal["a", 1], '"a" | 1'),
        (list[Line], "list of Line"),
        (Annotated[list[int], Meta(min_length=1)], "list of at least 1 items of integer"),
        (set[str], "set of text"),
        (tuple[int, str], "(integer, text)"),
        (dict[str, Line | None], "dict from text to null | Line"),
        (fait.Json, "any JSON"),
    ],
)
def test_type_is_put_in_words(kind: Any, words: str) -> None:
    assert type_in_words(member_paths(describe(declared_as("words", field=kind)))["field"].type) == words


def test_keyword_that_is_not_understood_is_named() -> None:
    assert type_in_words(Opaque("if")) == "not understood: if"
