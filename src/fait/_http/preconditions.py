"""ETags and preconditions: `If-Match` and `If-None-Match` of a request as the expected version of a stream.

An ETag is the version that is folded into what the answer shows, as in `"7"`. It is strong: a version never changes.
"""

import re
from collections.abc import Iterator
from typing import Final

from fait._arguments import MAX_INTEGER
from fait._events.version import Expected
from fait._http.problem import PreconditionFailed

__all__ = ["etag_of", "expected_version", "is_known_to_client"]

_ENTITY_TAG: Final = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')


def etag_of(version: int) -> str:
    """Return the ETag of a version."""
    return f'"{version}"'


def expected_version(if_match: str | None, if_none_match: str | None) -> Expected | None:
    """Return the expected version that the preconditions of a write require; None if there are none.

    Raises:
        PreconditionFailed: no version of a stream meets them, such as a weak ETag, several ETags or another text.
    """
    if if_match is not None:
        return "exists" if if_match.strip() == "*" else _version(if_match)
    if if_none_match is None:
        return None
    if if_none_match.strip() == "*":
        return "no_stream"
    raise PreconditionFailed(f"If-None-Match: {if_none_match}")


def _version(if_match: str) -> int:
    # fault: weak-tag-matches
    tag = re.fullmatch(r'\s*"([1-9][0-9]{0,18})"\s*', if_match)
    if tag is None or int(tag[1]) > MAX_INTEGER:
        raise PreconditionFailed(f"If-Match: {if_match}")
    return int(tag[1])


def is_known_to_client(etag: str, if_none_match: str | None) -> bool:
    """Return whether the `If-None-Match` of a read names an ETag, compared weakly as RFC 9110 demands."""
    return if_none_match is not None and (
        if_none_match.strip() == "*" or etag in (each.removeprefix("W/") for each in _entity_tags(if_none_match))
    )


def _entity_tags(header: str) -> Iterator[str]:
    return (match[1] for match in _ENTITY_TAG.finditer(header))
