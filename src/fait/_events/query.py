"""A query says which events of the log are meant: by type, by tag, by category."""

from collections.abc import Iterable
from typing import NoReturn

from msgspec import Struct

from fait._errors import UsageError
from fait._events.envelope import RecordedEvent
from fait._events.event import event_type
from fait._events.stream import category_of, check_tags

__all__ = ["EVERYTHING", "Query"]


class Query(Struct, frozen=True):
    """Events that have one of the types, and all of the tags, and the category.

    Attributes:
        types: stored names; empty = any type.
        tags: empty = whatever tags.
        category: None = any category.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    category: str | None = None

    def __post_init__(self) -> None:
        """Refuse a text where several are meant: it would mean its characters."""
        for name, given in (("types", self.types), ("tags", self.tags)):
            if isinstance(given, str):
                raise UsageError(f"{name} are several texts: write ({given!r},)")

    @classmethod
    def of(cls, *events: type, tags: Iterable[str] = (), category: str | None = None) -> "Query":
        """Events of these classes: `Query.of(OrderPlaced, tags=["product:tea"])`."""
        declared = [event_type(each) or _undeclared(each) for each in events]
        return cls(tuple(each.name for each in declared), check_tags(tags), category)

    def matches(self, event: RecordedEvent) -> bool:
        """Whether the event is meant: the definition that every backend's SQL must agree with."""
        return (
            (not self.types or event.type in self.types)
            and all(tag in event.tags for tag in self.tags)
            and (self.category is None or category_of(event.stream) == self.category)
        )


def _undeclared(cls: type) -> NoReturn:
    raise UsageError(f"{cls.__qualname__} is not an event: declare it with @fait.event('some-name')")


EVERYTHING = Query()
