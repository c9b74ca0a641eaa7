"""A declared consumer: a reader of a published event outside of the code of the app."""

from msgspec import Struct

__all__ = ["Consumer"]


class Consumer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reader of an event type outside of the code of the app.

    Attributes:
        name: name of the program or team.
        event: stored name of the event type.
        version: the schema version that it reads.
    """

    name: str
    event: str
    version: int
