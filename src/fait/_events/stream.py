"""Stream names: `category-id`, split at the first hyphen. All events of order 7 are in the stream `order-7`.

A name without a hyphen, such as `inventory`, is its own category and has an empty id.
"""

from collections.abc import Iterable

from fait._arguments import described
from fait._errors import InvalidValue, UsageError

__all__ = [
    "MAX_NAME_CHARS",
    "category_of",
    "check_category",
    "check_names",
    "check_stream",
    "check_tag",
    "check_tags",
    "id_of",
    "stream_name",
]

MAX_NAME_CHARS = 500
"""Maximum length of a stream name or tag, in characters. Both are index keys."""


def stream_name(category: str, id: str) -> str:
    """Return the name of the stream of an id in a category, which a declaration has checked."""
    if not isinstance(id, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise UsageError(f"an id of category {category!r} must be a str, not {type(id).__name__}: use str(id)")
    return _check_text("stream", f"{category}-{id}") if id else _refuse("stream", f"{category}-", "the id is empty")


def category_of(stream: str) -> str:
    """Return the part before the first hyphen, or the whole name if it has none."""
    return stream.partition("-")[0]


def id_of(stream: str) -> str:
    """Return the part after the first hyphen, or an empty string if the name has none."""
    return stream.partition("-")[2]


def check_stream(stream: str) -> str:
    """Return the stream name if every backend can store it; raise `InvalidValue` otherwise."""
    if not category_of(_check_text("stream", stream)):
        _refuse("stream", stream, "the category, before the first '-', is empty")
    return stream


def check_category(category: str) -> str:
    """Return the category if a stream can have it; raise `InvalidValue` otherwise."""
    if "-" in _check_text("category", category):
        _refuse("category", category, "it contains '-', at which the category of a stream ends")
    return category


def check_tag(tag: str) -> str:
    """Return the tag if every backend can store it; raise `InvalidValue` otherwise. The usual form is `kind:id`."""
    return _check_text("tag", tag)


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags as a tuple if every backend can store them; raise `InvalidValue` otherwise."""
    return () if tags == () else check_names("tag", tags)


def check_names(kind: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return names as a tuple if every backend can store them.

    Args:
        kind: the kind of name, for error messages: "tag".
        names: the names, which may be used as keys of an index.

    Raises:
        UsageError: `names` is a single string, a dict or not iterable, or contains something other than a string.
        InvalidValue: a name cannot be stored.
    """
    if isinstance(names, str | bytes):
        raise UsageError(
            f"{kind}s must be a collection of strings, not one string: write [{described(names, show_text=True)}]"
        )
    given: object = names
    if isinstance(given, dict) or not hasattr(given, "__iter__"):  # the values of a dict would be dropped
        raise UsageError(f"{kind}s must be a collection of strings, not {type(names).__name__}")
    checked = tuple(names)
    if not _are_valid(checked):
        for name in checked:
            _check_text(kind, name)
    return checked


def _are_valid(names: tuple[str, ...]) -> bool:
    """Return whether the names are certainly valid: together printable ASCII, and short. False: check each."""
    try:
        text = "".join(names)
    except TypeError:
        return False
    return len(text) <= MAX_NAME_CHARS and text.isascii() and text.isprintable() and "" not in names


def _check_text(kind: str, name: str) -> str:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise UsageError(f"a {kind} must be a str, not {type(name).__name__}")
    if not name:
        _refuse(kind, name, "it is empty")
    if len(name) > MAX_NAME_CHARS:
        _refuse(kind, name[:40] + "…", f"it is longer than {MAX_NAME_CHARS} characters")
    if not name.isascii() or not name.isprintable():
        if "\0" in name:
            _refuse(kind, name, "it contains a NUL character")
        if any("\ud800" <= char <= "\udfff" for char in name):
            _refuse(kind, name, "it contains a lone surrogate")
    return name


def _refuse(kind: str, name: str, reason: str) -> str:
    raise InvalidValue(f"{kind} {name!r}", "$", reason)
