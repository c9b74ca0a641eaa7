"""Texts in subjects and headers: every text returns unchanged, and no two texts have one code."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fait._delivery.text_codes import decode_header, decode_token, encode_header, encode_token
from fait.testing.contract.broker_publishing import TEXTS

texts = st.text(st.characters(exclude_categories=["Cs"]))
nasty = st.text(st.sampled_from(".*> =_-%\r\n:\t\0aA0ä\u0308👩"))


@given(texts | nasty)
@example("")
@example("=")
@example("==")
def test_token_has_safe_characters_and_returns_the_text(text: str) -> None:
    token = encode_token(text)

    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token)
    assert decode_token(token) == text


@given(st.lists(nasty, unique=True, min_size=2, max_size=20))
def test_different_texts_have_different_codes(different: list[str]) -> None:
    assert len(set(map(encode_token, different))) == len(set(map(encode_header, different))) == len(different)


@given(texts | nasty)
def test_header_is_printable_ascii_without_spaces_and_returns_the_text(text: str) -> None:
    header = encode_header(text)

    assert re.fullmatch(r"[!-~]*", header)
    assert not re.search(r'["\s]', header)
    assert decode_header(header) == text
    assert decode_header(header.encode()) == text


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_the_contract_return_unchanged(text: str) -> None:
    assert decode_token(encode_token(text)) == decode_header(encode_header(text)) == text


@given(st.text(st.sampled_from("=0aAfF2E-_.g"), max_size=8))
def test_text_that_is_no_code_is_an_error(code: str) -> None:
    try:
        text = decode_token(code)
    except ValueError:
        return
    assert encode_token(text) == code


@given(st.binary() | st.text() | st.none())
def test_header_of_another_program_never_raises(value: bytes | str | None) -> None:
    assert isinstance(decode_header(value), str)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("%e4", "\ufffd"),
        (b"\xff", "\ufffd"),
        (None, ""),
    ],
)
def test_header_of_another_program_is_decoded(value: str | bytes | None, expected: str) -> None:
    assert decode_header(value) == expected
