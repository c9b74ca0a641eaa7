"""A stream is the history of one thing, named `category-id`: all events of order 7 are the stream `order-7`.

The category is what stands before the first "-". A name without one is a stream of its own kind (`inventory`): its
category is the whole name. Ids may be any text a database can keep; categories are what programs are written against.
"""

from collections.abc import Iterable

from fait._errors import InvalidValue, UsageError

__all__ = ["MAX_NAME_CHARS", "category_of", "check_stream", "check_tag", "check_tags", "id_of", "stream_name"]

MAX_NAME_CHARS = 500
"""Longest stream name or tag, in characters: both are index keys."""


def stream_name(category: str, id: str) -> str:
    """The stream of the thing `id` of a category."""
    if not isinstance(id, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise UsageError(f"the id of a {category} is text, not {type(id).__name__}: write str(id)")
    return check_stream(f"{category}-{id}") if id else _refuse("stream", f"{category}-", "the id is empty")


def category_of(stream: str) -> str:
    """The part before the first "-"; the whole name if there is none."""
    return stream.partition("-")[0]


def id_of(stream: str) -> str:
    """The part after the first "-"; empty if there is none."""
    return stream.partition("-")[2]


def check_stream(stream: str) -> str:
    """Return a name that every backend can keep, or raise `InvalidValue`."""
    if not category_of(_text("stream", stream)):
        _refuse("stream", stream, "the category, before the first '-', is empty")
    return stream


def check_tag(tag: str) -> str:
    """Return a tag that every backend can keep, or raise `InvalidValue`. The usual form is `kind:id`."""
    return _text("tag", tag)


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags that every backend can keep, or raise `InvalidValue`."""
    if isinstance(tags, str):
        raise UsageError(f"tags are several texts: write [{tags!r}]")
    return tuple(check_tag(tag) for tag in tags)


def _text(what: str, name: str) -> str:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise UsageError(f"a {what} is text, not {type(name).__name__}")
    if not name:
        _refuse(what, name, "it is empty")
    if len(name) > MAX_NAME_CHARS:
        _refuse(what, name[:40] + "…", f"it is longer than {MAX_NAME_CHARS} characters")
    if not name.isascii() or not name.isprintable():
        if "\0" in name:
            _refuse(what, name, "it holds a NUL character")
        if any("\ud800" <= char <= "\udfff" for char in name):
            _refuse(what, name, "it holds a lone surrogate, which is not text")
    return name


def _refuse(what: str, name: str, reason: str) -> str:
    raise InvalidValue(f"{what} {name!r}", "$", reason)
