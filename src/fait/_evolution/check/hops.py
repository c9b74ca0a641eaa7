"""The hops of an event type: from each schema version to the next one, with an upcaster or without.

`Registry.conversion` resolves the same path to its upcasters alone; a check also needs the versions between them.
"""

from msgspec import Struct

from fait._errors import UndecodableEvent
from fait._events.registry import Registry
from fait._events.upcast import Downcaster, Upcaster

__all__ = ["Hop", "downcast_hops", "is_readable", "next_hop"]


class Hop(Struct, frozen=True, eq=False):
    """One step on the path from a stored schema version to today's classes.

    Attributes:
        name: current name of the event type.
        version: the schema version that is read.
        step: the upcaster or downcaster; None: the data is read as it is.
        target: the type and the version of the result; None if the step is a split or drops the event.
    """

    name: str
    version: int
    step: Upcaster | None
    target: tuple[str, int] | None

    @property
    def key(self) -> tuple[str, int, bool]:
        """Identifies the hop."""
        return self.name, self.version, isinstance(self.step, Downcaster)

    @property
    def label(self) -> str:
        """The hop in a message: `1 -> 2`."""
        if self.target is None:
            into = ", ".join(self.step.into or ()) if self.step else ""
            return f"{self.version} -> {into or 'dropped'}"
        name, version = self.target
        return f"{self.version} -> {version}" if name == self.name else f"{self.version} -> {name} {version}"

    @property
    def call(self) -> str:
        """The beginning of a declaration of the hop's upcaster: `fait.upcast("order-placed", 1, `."""
        word = "downcast" if isinstance(self.step, Downcaster) else "upcast"
        return f'fait.{word}("{self.name}", {self.version}, '

    @property
    def place(self) -> str:
        """File and line of the upcaster; empty if there is none."""
        return self.step.source_location if self.step else ""


def next_hop(registry: Registry, name: str, version: int) -> Hop | None:
    """Return the hop from a version; None from the version of the class. There must be a path from it.

    Args:
        registry: the event types and upcasters.
        name: current name of the event type.
        version: the schema version.
    """
    declared = registry.types.get(name)
    if declared is not None and declared.schema_version == version:
        return None
    is_newer = declared is not None and version > declared.schema_version
    step = (registry.downcasters if is_newer else registry.upcasters).get((name, version))
    return _hop(registry, name, version, step)


def _hop(registry: Registry, name: str, version: int, step: Upcaster | None) -> Hop:
    if step is None:
        return Hop(name, version, None, (name, version + 1))
    target = None if step.target is None else (registry.names.current(step.target[0]), step.target[1])
    return Hop(name, version, step, target)


def is_readable(registry: Registry, name: str, version: int) -> bool:
    """Return whether there is a path from a version."""
    try:
        registry.conversion(name, version)
    except UndecodableEvent:
        return False
    return True


def downcast_hops(registry: Registry) -> list[Hop]:
    """Return the hops of all downcasters, in the order of type and version."""
    return [_hop(registry, *key, registry.downcasters[key]) for key in sorted(registry.downcasters)]
