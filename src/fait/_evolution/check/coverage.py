"""Finds members that an upcaster always loses, although both versions have them.

One result without an optional member is allowed: the upcaster may leave out what has no meaning any more. If no result
of any sample has it, its values are lost.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, NamedTuple, cast

from fait._events.changes import Change, Dropped, Renamed
from fait._evolution.locks.members import data_paths, member_paths
from fait._schema.description import Description

__all__ = ["Coverage", "Result"]


class Result(NamedTuple):
    """A result of a hop.

    Attributes:
        data: its data.
        described: the description of its version; None if that is not known.
        unchanged: its members that are those of the input.
    """

    data: Any
    described: Description | None
    unchanged: Set[str]


class Coverage:
    """The members in the samples of a version, and in the results of its upcaster.

    Args:
        described: the description of the version.

    Attributes:
        described: the description of the version.
    """

    def __init__(self, described: Description) -> None:
        self.described = described
        self._conversions: list[tuple[Any, list[Result]]] = []
        self._results: dict[int, Description] = {}
        self._suspects: set[str] = set()

    def add(self, data: Any, results: list[Result]) -> None:
        """Add an input and its results."""
        self._conversions.append((data, results))
        for each in results:
            if each.described is not None:
                self._results[id(each.described)] = each.described
        # fault: lost-member
        self._suspects |= data_paths(_without_kept(data, results))

    def lost_paths(self, function: Callable[..., Any] | tuple[Change, ...]) -> list[str]:
        """Return the members that no result has, without those that the upcaster declares and those inside others."""
        suspects = self._suspects - _declared_paths(() if callable(function) else function)
        if not suspects:
            return []
        suspects &= {path for each in self._results.values() for path in member_paths(each)}
        lost = suspects and suspects - {
            path for _, results in self._conversions for each in results for path in data_paths(each.data)
        }
        return sorted(path for path in lost if not any(_is_inside(path, other) for other in lost))

    def conversions(self) -> Iterator[tuple[Description, list[tuple[Any, Any]]]]:
        """Yield the description of each version of results, with the inputs and results of that version."""
        for described in self._results.values():
            yield (
                described,
                [
                    (data, each.data)
                    for data, parts in self._conversions
                    for each in parts
                    if each.described is described
                ],
            )

    def example(self, path: str) -> Any:
        """Return an input that has a member."""
        return next(data for data, _ in self._conversions if path in data_paths(data))


def _without_kept(data: Any, results: list[Result]) -> Any:
    """Return an input without members that a result has as they are: most upcasters leave most members alone."""
    kept = {name for each in results for name in each.unchanged}
    if not isinstance(data, dict):
        return data
    return {name: value for name, value in cast("dict[str, Any]", data).items() if name not in kept}


def _declared_paths(changes: Iterable[Change]) -> set[str]:
    return {
        each.path if isinstance(each, Dropped) else each.old for each in changes if isinstance(each, Dropped | Renamed)
    }


def _is_inside(path: str, other: str) -> bool:
    return path != other and path.startswith((f"{other}.", f"{other}[]"))
