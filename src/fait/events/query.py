"""A query says which events of the log are meant: by type, by tag, by category."""

from msgspec import Struct

from fait.events.envelope import StoredEvent
from fait.events.stream import category_of

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

    def matches(self, event: StoredEvent) -> bool:
        """Whether the event is meant: the definition that every backend's SQL must agree with."""
        return (
            (not self.types or event.type in self.types)
            and all(tag in event.tags for tag in self.tags)
            and (self.category is None or category_of(event.stream) == self.category)
        )


EVERYTHING = Query()
