"""Validation of JSON: documents that every backend can store are accepted, others raise with the path."""

import json
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fait._errors import InvalidValue
from fait._events.validation import MAX_DEPTH, MAX_EVENT_BYTES, encode_json, validate

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
)
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@given(DOCUMENTS)
def test_validate_of_storable_document_accepts_every_escaping(document: object) -> None:
    validate(json.dumps(document).encode(), "it")
    validate(json.dumps(document, ensure_ascii=False).encode(), "it")


@given(DOCUMENTS)
def test_encode_json_gives_an_equal_document(document: object) -> None:
    assert json.loads(encode_json(document, "it")) == document


@pytest.mark.parametrize(
    "data",
    [
        rb'"a backslash and the text \\u0000"',
        b'"Infinity"',
        b'"123456789012345678901234567890"',
        b"0.1234567890123456789012345",
        b"-9223372036854775808",
        b"9223372036854775807",
        b"1e308",
        rb'"\ud83d\ude00"',
        b'"' + b"[" * 100 + b'"',
        b"[" + b"[]," * 100 + b"[]]",
        nested(MAX_DEPTH),
    ],
)
def test_validate_of_false_positive_of_the_precheck_accepts(data: bytes) -> None:
    validate(data, "it")


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        (rb'{"a":{"b":"x\u0000"}}', "$.a.b", "NUL"),
        (rb'{"a":{"b\u0000":1}}', "$.a", "one of its keys: the string contains a NUL"),
        (rb'{"a":["\ud800"]}', "$.a[0]", "surrogate"),
        (rb'{"a":"\udc00x"}', "$.a", "surrogate"),
        (b'{"two words":9223372036854775808}', "$['two words']", "64 bits"),
        (b"-9223372036854775809", "$", "64 bits"),
        (b"1" * 10_000, "$", "64 bits"),
        (b'{"a":1e999}', "$.a", "too large for a float"),
        (b'{"a":-1e999}', "$.a", "too large for a float"),
        (b'{"a":NaN}', "$.a", "not finite"),
        (b'{"a":-Infinity}', "$.a", "not finite"),
        (b'{"a":"\xff"}', "$", "byte 6 is not UTF-8"),
        (b'"\xed\xa0\x80"', "$", "not UTF-8"),
        (b'{"a":1', "$", "not well-formed JSON"),
        (b"", "$", "not well-formed JSON"),
        (b"[1] [2]", "$", "not well-formed JSON"),
        (nested(MAX_DEPTH + 1), "$", "deeper than 64"),
        (nested(100_000), "$", "deeper than 64"),
        (b'[{"]":' * 33 + b"1" + b"}]" * 33, "$", "deeper than 64"),
        (b'"' + b"x" * MAX_EVENT_BYTES + b'"', "$", "1,048,578 bytes"),
    ],
)
def test_validate_of_unstorable_document_raises_with_path(data: bytes, path: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        validate(data, "it")

    assert refused.value.path == path
    assert reason in refused.value.reason


def test_validate_with_lower_limit_raises_above_it() -> None:
    validate(b'"12345"', "metadata", limit=7)
    with pytest.raises(InvalidValue, match=r"metadata .* 8 bytes"):
        validate(b'"123456"', "metadata", limit=7)


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ({"a": [1.0, float("nan")]}, "$.a[1]", "not finite"),
        ({"a": float("-inf")}, "$.a", "not finite"),
        ({"a": 2**63}, "$.a", "64 bits"),
        ({"a": "\ud800"}, "$.a", "surrogate"),
        ({"a\0": 1}, "$", "NUL"),
        ({"a": (1, 2)}, "$.a", "tuple would be decoded as list"),
        ({"a": {1: 2}}, "$.a", "members would be decoded differently"),
        ({"a": Decimal("1.5")}, "$.a", "Decimal would be decoded as str"),
        ({"a": datetime(2024, 1, 1)}, "$.a", "no time zone"),
        ({"a": [object()]}, "$.a[0]", "cannot be stored as JSON"),
        ({"a": 1j}, "$.a", "cannot be stored as JSON"),
    ],
)
def test_encode_json_of_other_types_raises_with_path(data: object, path: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        encode_json(data, "metadata")

    assert refused.value.path == path
    assert reason in refused.value.reason


def test_encode_json_of_cyclic_data_raises() -> None:
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(InvalidValue, match="deeper than 64"):
        encode_json(loop, "metadata")
