"""Queries select events of the log by type, tags and category."""

from collections.abc import Iterable
from typing import NoReturn

from msgspec import Struct

from fait._errors import UsageError
from fait._events.envelope import RecordedEvent
from fait._events.event import event_type
from fait._events.stream import category_of, check_tags

__all__ = ["EVERYTHING", "Query"]


class Query(Struct, frozen=True):
    """Selects events that have one of the types, all of the tags, and the category.

    `Query()` selects all events. `Query.of` takes event classes instead of stored names.

    Attributes:
        types: stored names of event types; empty: any type.
        tags: tags that an event must all have; empty: no restriction.
        category: category of the stream; None: any category.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    category: str | None = None

    def __post_init__(self) -> None:
        """Reject a single string, which would be taken for a sequence of its characters."""
        for name, given in (("types", self.types), ("tags", self.tags)):
            if isinstance(given, str):
                raise UsageError(f"{name} must be a tuple of strings, not one string: write ({given!r},)")

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
        declared = [event_type(each) or _undeclared(each) for each in events]
        return cls(tuple(each.name for each in declared), check_tags(tags), category)

    def matches(self, event: RecordedEvent) -> bool:
        """Return whether the query selects the event. The SQL of every backend must agree with this definition."""
        return (
            (not self.types or event.type in self.types)
            and all(tag in event.tags for tag in self.tags)
            and (self.category is None or category_of(event.stream) == self.category)
        )


def _undeclared(cls: type) -> NoReturn:
    raise UsageError(f"{cls.__qualname__} is not an event: declare it with @fait.event('some-name')")


EVERYTHING = Query()
