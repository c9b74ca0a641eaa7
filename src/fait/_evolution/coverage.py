"""Finds members that an upcaster always loses, although both versions have them.

One result without an optional member is allowed: the upcaster may leave out what has no meaning any more. If no result
of any sample has it, its values are lost.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

from fait._events.changes import Change, Dropped, Renamed
from fait._evolution.members import data_paths, members_of
from fait._schema.description import Description

__all__ = ["Coverage"]


class Coverage:
    """The members in the samples of a version, and in the results of its upcaster.

    Args:
        described: the description of the version.

    Attributes:
        described: the description of the version.
    """

    def __init__(self, described: Description) -> None:
        self.described = described
        self._conversions: list[tuple[Any, list[Any]]] = []
        self._results: dict[int, Description] = {}
        self._suspects: set[str] = set()

    def add(self, data: Any, results: list[tuple[Description | None, Any]]) -> None:
        """Add an input and its results, with their descriptions."""
        parts = [part for _, part in results]
        self._conversions.append((data, parts))
        self._results.update({id(described): described for described, _ in results if described is not None})
        # fault: lost-member
        self._suspects |= data_paths(_without_kept(data, parts))

    def lost_paths(self, function: Callable[..., Any] | tuple[Change, ...]) -> list[str]:
        """Return the members that no result has, without those that the upcaster declares and those inside others."""
        if not self._suspects:
            return []
        possible = {path for each in self._results.values() for path in members_of(each)}
        suspects = self._suspects & possible - _declared_paths(() if callable(function) else function)
        lost = suspects and suspects - {path for _, parts in self._conversions for path in _all_paths(parts)}
        return sorted(path for path in lost if not any(_is_inside(path, other) for other in lost))

    def example(self, path: str) -> Any:
        """Return an input that has a member."""
        return next(data for data, _ in self._conversions if path in data_paths(data))


def _without_kept(data: Any, parts: list[Any]) -> Any:
    """Return an input without members that a result has as they are: most upcasters leave most members alone."""
    if not isinstance(data, dict):
        return data
    objects = [cast("dict[str, Any]", part) for part in parts if isinstance(part, dict)]
    return {
        name: value
        for name, value in cast("dict[str, Any]", data).items()
        if not any(name in part and part[name] is value for part in objects)
    }


def _all_paths(parts: Iterable[Any]) -> set[str]:
    return {path for part in parts for path in data_paths(part)}


def _declared_paths(changes: Iterable[Change]) -> set[str]:
    return {
        each.path if isinstance(each, Dropped) else each.old for each in changes if isinstance(each, Dropped | Renamed)
    }


def _is_inside(path: str, other: str) -> bool:
    return path != other and path.startswith((f"{other}.", f"{other}[]"))
