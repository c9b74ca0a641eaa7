"""Checks JSON from other programs: that it is JSON, and that it is not nested too deeply."""

import re
from typing import Any, Final

import msgspec

from fait._broker_errors import MalformedMessage

__all__ = ["MAX_DEPTH", "check_json", "decode_json"]

MAX_DEPTH: Final = 100
"""Maximum nesting of arrays and objects."""

_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def check_json(text: bytes) -> None:
    """Check that a text is JSON, within the maximum depth.

    Raises:
        MalformedMessage: it is not.
    """
    decode_json(text, _ANY)


def decode_json(text: bytes, decoder: "msgspec.json.Decoder[Any]") -> Any:
    """Return the value of a JSON text within the maximum depth.

    Raises:
        MalformedMessage: it is no JSON, is nested too deeply, or has another type than the decoder's.
    """
    # fault: depth-not-checked
    if _depth(text) > MAX_DEPTH:
        raise MalformedMessage(f"the JSON is nested more than {MAX_DEPTH} times")
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # the message may contain data
        raise MalformedMessage("the content is not the expected JSON") from None


def _depth(text: bytes) -> int:
    if (brackets := text.count(b"[") + text.count(b"{")) <= MAX_DEPTH:
        return brackets  # an upper bound
    depth = deepest = 0
    for match in _BRACKET.finditer(text):
        if (bracket := match[0]) in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in (b"]", b"}"):
            depth -= 1
    return deepest


_ANY: Final = msgspec.json.Decoder[Any]()
