"""The one verdict about JSON: what every store keeps is accepted, everything else is refused with its path."""

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
def test_what_every_store_keeps_is_accepted_however_it_is_escaped(document: object) -> None:
    validate(json.dumps(document).encode(), "it")
    validate(json.dumps(document, ensure_ascii=False).encode(), "it")


@given(DOCUMENTS)
def test_free_form_data_comes_back_equal(document: object) -> None:
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
def test_what_only_looks_suspicious_is_accepted(data: bytes) -> None:
    validate(data, "it")


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        (rb'{"a":{"b":"x\u0000"}}', "$.a.b", "NUL"),
        (rb'{"a":{"b\u0000":1}}', "$.a", "a key in it: the text holds a NUL"),
        (rb'{"a":["\ud800"]}', "$.a[0]", "surrogate"),
        (rb'{"a":"\udc00x"}', "$.a", "surrogate"),
        (b'{"two words":9223372036854775808}', "$['two words']", "64 bits"),
        (b"-9223372036854775809", "$", "64 bits"),
        (b"1" * 10_000, "$", "64 bits"),
        (b'{"a":1e999}', "$.a", "larger than any float"),
        (b'{"a":-1e999}', "$.a", "larger than any float"),
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
def test_what_some_store_would_lose_is_refused_with_its_path(data: bytes, path: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        validate(data, "it")

    assert refused.value.path == path
    assert reason in refused.value.reason


def test_a_caller_can_allow_less() -> None:
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
        ({"a": (1, 2)}, "$.a", "tuple and would read back as a list"),
        ({"a": {1: 2}}, "$.a", "members would read back differently"),
        ({"a": Decimal("1.5")}, "$.a", "Decimal and would read back as a str"),
        ({"a": datetime(2024, 1, 1)}, "$.a", "no time zone"),
        ({"a": [object()]}, "$.a[0]", "no JSON form"),
        ({"a": 1j}, "$.a", "no JSON form"),
    ],
)
def test_free_form_data_that_is_not_json_is_refused_with_its_path(data: object, path: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        encode_json(data, "metadata")

    assert refused.value.path == path
    assert reason in refused.value.reason


def test_data_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(InvalidValue, match="deeper than 64"):
        encode_json(loop, "metadata")
