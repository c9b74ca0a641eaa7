"""What an app knows of events: which class a stored name means, and how old versions are read.

A registry belongs to one app; there is none for the whole process. Two classes of one name are refused where they meet.
"""

from collections.abc import Iterable

from msgspec import Struct

from fait._errors import DeclarationError
from fait._events.envelope import Untyped
from fait._events.event import EventType, event_type
from fait._events.query import Query
from fait._events.upcast import Upcaster

__all__ = ["HandledTypes", "Registry"]


class HandledTypes(Struct, frozen=True):
    """The events that a fold or a handler takes.

    Attributes:
        types: stored names of declared ones.
        untyped: whether it also takes all undeclared ones, as `Untyped`.
    """

    types: frozenset[str]
    untyped: bool

    @property
    def query(self) -> Query:
        """What to read from the log for it."""
        return Query() if self.untyped else Query(types=tuple(sorted(self.types)))


class Registry:
    """Event types by stored name, and upcasters by name and version."""

    def __init__(self) -> None:
        self.types: dict[str, EventType] = {}
        self.upcasters: dict[tuple[str, int], Upcaster] = {}

    def add(self, cls: type) -> EventType:
        """Know an event class. Adding it again is nothing; another class of the same name is an error."""
        declared = event_type(cls)
        if declared is None:
            raise DeclarationError(
                f"{cls.__module__}.{cls.__qualname__} is not an event: declare it with @fait.event('some-name') "
                "(a subclass of an event needs its own declaration)"
            )
        known = self.types.setdefault(declared.name, declared)
        if known is not declared:
            raise DeclarationError(
                f"two events are named {declared.name!r}: {_place(known)} and {_place(declared)}. "
                "A stored name means one class: rename one, or include only one of them."
            )
        declared.check()
        return declared

    def handled_types(self, classes: Iterable[type]) -> HandledTypes:
        """Know all these classes; what a function that takes them takes."""
        declared = [cls for cls in classes if cls is not Untyped]
        return HandledTypes(frozenset(self.add(cls).name for cls in declared), Untyped in classes)

    def may_expire(self, taken: HandledTypes) -> bool:
        """Whether some of them may be dropped one day. Of undeclared ones nobody here knows."""
        return taken.untyped or any(self.types[name].retention is not None for name in taken.types)

    def handles(self, taken: HandledTypes, name: str) -> bool:
        """Whether an event of this stored name is among them."""
        return name in taken.types or (taken.untyped and name not in self.types)

    def add_upcaster(self, upcaster: Upcaster) -> None:
        """Know a step between two schema versions. Two different steps from one version are an error."""
        known = self.upcasters.setdefault((upcaster.name, upcaster.from_version), upcaster)
        if known is not upcaster:
            raise DeclarationError(
                f"two upcasters read version {upcaster.from_version} of {upcaster.name!r}: {known.source_location} and "
                f"{upcaster.source_location}"
            )

    def check(self) -> None:
        """Refuse upcasters that no event can need."""
        for (name, version), upcaster in self.upcasters.items():
            declared = self.types.get(name)
            if declared is None:
                raise DeclarationError(
                    f"the upcaster at {upcaster.source_location} is for {name!r}, but no included event has that name"
                )
            if version >= declared.schema_version:
                raise DeclarationError(
                    f"the upcaster at {upcaster.source_location} reads version {version} of {name!r}, whose current version is "
                    f"{declared.schema_version}: raise the event's version, or remove the upcaster"
                )

    def upcasters_from(self, declared: EventType, schema: int) -> tuple[Upcaster, ...]:
        """The upcasters that lead from a stored schema version to today's, in order."""
        versions = range(schema, declared.schema_version)
        return tuple(self.upcasters[declared.name, v] for v in versions if (declared.name, v) in self.upcasters)


def _place(declared: EventType) -> str:
    return f"{declared.cls.__qualname__} ({declared.source_location})"
