"""Queries select events of the log by type, tags and category."""

from collections.abc import Iterable
from typing import NoReturn, cast

from msgspec import Struct
from msgspec.structs import force_setattr

from fait._arguments import check_items, described
from fait._errors import UsageError
from fait._events.envelope import RecordedEvent
from fait._events.event import event_type
from fait._events.stream import category_of, check_category, check_names

__all__ = ["EVERYTHING", "Query", "check_queries"]


class Query(Struct, frozen=True):
    """Selects events that have one of the types, all of the tags, and the category.

    `Query()` selects all events. `Query.of` takes event classes instead of stored names.

    Raises:
        UsageError: `types` or `tags` is a single string or contains something other than strings, such as classes.
        InvalidValue: a type, a tag or the category cannot be stored, so no event can match.

    Attributes:
        types: stored names of event types; empty: any type.
        tags: tags that an event must all have; empty: no restriction.
        category: category of the stream; None: any category.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    category: str | None = None

    def __post_init__(self) -> None:
        """Reject what no event can match. Otherwise memory would match nothing, and a database would raise an error."""
        # fault: query-types-unchecked
        if self.types != ():
            force_setattr(self, "types", _check_types(self.types))
        if self.tags != ():
            force_setattr(self, "tags", check_names("tag", self.tags))
        if self.category is not None:
            check_category(self.category)

    @classmethod
    def of(cls, *events: type, tags: Iterable[str] = (), category: str | None = None) -> "Query":
        """Return a query for events of these classes: `Query.of(OrderPlaced, tags=["product:tea"])`.

        Args:
            *events: event classes; none: any type.
            tags: tags that an event must all have.
            category: category of the stream; None: any category.

        Raises:
            UsageError: a class is not declared as an event, or `tags` is a single string.
            InvalidValue: a tag cannot be stored.
        """
        declared = [(isinstance(each, type) and event_type(each)) or _undeclared(each) for each in events]  # pyright: ignore[reportUnnecessaryIsInstance]
        return cls(tuple(each.name for each in declared), cast("tuple[str, ...]", tags), category)

    def matches(self, event: RecordedEvent) -> bool:
        """Return whether the query selects the event. The SQL of every backend must agree with this definition."""
        return (
            (not self.types or event.type in self.types)
            and all(tag in event.tags for tag in self.tags)
            and (self.category is None or category_of(event.stream) == self.category)
        )


def check_queries(argument: str, queries: Iterable[Query]) -> tuple[Query, ...]:
    """Return queries as a tuple; raise `UsageError`, which names the argument, if one of them is not a `Query`."""
    return check_items(argument, queries, Query, "a Query, or a collection of them")


def _check_types(types: Iterable[str]) -> tuple[str, ...]:
    try:
        return check_names("type", types)
    except UsageError as error:
        raise UsageError(
            f"{error}. types= takes stored names of events; for classes, use Query.of(OrderPlaced, tags=...)"
        ) from None


def _undeclared(cls: type) -> NoReturn:
    given = cls.__qualname__ if isinstance(cls, type) else described(cls)  # pyright: ignore[reportUnnecessaryIsInstance]
    raise UsageError(f"{given} is not an event class: declare one with @fait.event('some-name')")


EVERYTHING = Query()
