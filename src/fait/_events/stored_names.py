"""Which stored names the events of a type are read from.

A stored name is the name of an event class, a former name of one (`was=`), or a retired one: a name without a class,
whose upcasters make other events of it. Readers select events of a type by all of these names.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from fait._errors import DeclarationError
from fait._events.query import Query
from fait._events.upcast import Upcaster

__all__ = ["StoredNames"]


class StoredNames:
    """The stored names of event types.

    Args:
        declared: names of the event classes.
        aliases: the current name for each former one.
        upcasters: upcasters of these types, by current name and schema version.

    Attributes:
        aliases: the current name for each former one.
        retired: names without a class.
        known: all stored names.
        converted: names of events that may be split, or have an upcaster that takes the envelope.
        may_change_type: whether events of one stored name may be read as another type.

    Raises:
        DeclarationError: upcasters convert events of a type to the same type again, by way of others.
    """

    def __init__(
        self, declared: Iterable[str], aliases: Mapping[str, str], upcasters: Mapping[tuple[str, int], Upcaster]
    ) -> None:
        self.aliases = aliases
        self._targets: defaultdict[str, set[str]] = defaultdict(set)
        for (name, _), each in upcasters.items():
            into = each.into if each.target is None else each.target[:1]
            self._targets[name].update(map(self.current, into or ()))
        self.retired: frozenset[str] = frozenset(self._targets) - {*declared}
        self.known: frozenset[str] = frozenset({*declared, *aliases, *self.retired})
        self.may_change_type: bool = any(names - {name} for name, names in self._targets.items())
        special = {name for (name, _), each in upcasters.items() if each.takes_envelope or each.target is None}
        results = {name: self._results(self.current(name)) for name in (*self._targets, *aliases)}
        self.converted: frozenset[str] = frozenset(name for name, types in results.items() if types & special)
        self._sources: defaultdict[str, set[str]] = defaultdict(set)
        for name, types in results.items():
            for each in types:
                self._sources[each] |= {each, name}

    def current(self, name: str) -> str:
        """Return the current name for a former name of an event type; every other name as it is."""
        return self.aliases.get(name, name)

    def of(self, types: Iterable[str]) -> frozenset[str]:
        """Return the stored names from which events of these types are read."""
        return frozenset[str]().union(*(self._sources.get(self.current(each), {each}) for each in types))

    def others(self, type: str) -> tuple[str, ...]:
        """Return the further stored names from which events of a type are read."""
        return tuple(sorted(self.of([type]) - {type}))

    def stored_query(self, query: Query) -> Query:
        """Return a query that selects all events that may be read as the types of a query."""
        # fault: alias-ignored-in-query
        types = self.of(query.types)
        return query if types == frozenset(query.types) else Query(tuple(sorted(types)), query.tags, query.category)

    def selects(self, query: Query, type: str) -> bool:
        """Return whether a query names a type, under its current or a former name, or names no types."""
        return not query.types or self.current(type) in map(self.current, query.types)

    def _results(self, name: str, path: tuple[str, ...] = ()) -> set[str]:
        """Return the types that events of a current name may become, with the name itself."""
        if name in path:
            raise DeclarationError(f"upcasters convert {' to '.join(map(repr, (*path, name)))}. Remove one of them.")
        targets = self._targets.get(name, set[str]()) - {name}
        return {name}.union(*(self._results(each, (*path, name)) for each in targets))
