"""Encodes texts for transports that cannot carry each character: parts of subjects and names, and values of headers.

Both encodings are injective: different texts have different codes, so no key, topic or relay can take the place of
another one, and no text can end a header line or a part of a subject.
"""

import re
from typing import Final

__all__ = ["decode_header", "decode_token", "encode_header", "encode_token"]

_TOKEN_SAFE: Final = re.compile(r"[A-Za-z0-9_-]*")
_UNSAFE_IN_TOKEN: Final = re.compile(rb"[^A-Za-z0-9_-]")
_HEADER_SAFE: Final = re.compile(r"[!#$&-~]*")
_UNSAFE_IN_HEADER: Final = re.compile(rb"[^!#$&-~]")
_TOKEN_CODE: Final = re.compile(r"=([0-9A-F]{2})")
_HEADER_CODE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def encode_token(text: str) -> str:
    """Return a code of ASCII letters, digits, `-`, `_` and `=`, for a part of a subject, a file or a queue name.

    Any other byte of the UTF-8 form is `=` and two hexadecimal digits. An empty text is `=`, because a part of a
    subject must not be empty.
    """
    # fault: token-not-encoded
    if _TOKEN_SAFE.fullmatch(text):
        return text or "="
    return _UNSAFE_IN_TOKEN.sub(lambda byte: b"=%02X" % byte[0][0], text.encode()).decode()


def decode_token(code: str) -> str:
    """Return the text of a code of `encode_token`.

    Raises:
        ValueError: it is no such code.
    """
    if "=" not in code:
        text = code
    elif code == "=":
        text = ""
    else:
        text = _TOKEN_CODE.sub(lambda byte: chr(int(byte[1], 16)), code).encode("latin-1").decode()
    if encode_token(text) != code:
        raise ValueError(f"{code!r} is no code of a text")
    return text


def encode_header(value: str) -> str:
    """Return the value of a header in printable ASCII, as the CloudEvents binding of HTTP defines it.

    A space, a quotation mark, a percent sign and all bytes outside of printable ASCII are percent-encoded.
    """
    # fault: header-not-encoded
    if _HEADER_SAFE.fullmatch(value):
        return value
    return _UNSAFE_IN_HEADER.sub(lambda byte: b"%%%02X" % byte[0][0], value.encode()).decode()


def decode_header(code: str | bytes | None) -> str:
    """Return the value of a header, as `encode_header` or any other program has encoded it.

    A percent sign without two hexadecimal digits remains. Bytes that are not UTF-8 are replaced by U+FFFD.
    """
    data = code.encode("utf-8", "replace") if isinstance(code, str) else code or b""
    return _HEADER_CODE.sub(lambda digits: bytes([int(digits[1], 16)]), data).decode("utf-8", "replace")
