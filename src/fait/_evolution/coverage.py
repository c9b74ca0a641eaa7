"""Finds members that an upcaster always loses, although both versions have them.

One result without an optional member is allowed: the upcaster may leave out what has no meaning any more. If no result
of any sample has it, its values are lost.
"""

from collections.abc import Callable, Iterable
from typing import Any

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
        self._examples: dict[str, Any] = {}
        self._kept: set[str] = set()
        self._possible: set[str] = set()
        self._results: set[int] = set()

    def add(self, sample: Any, results: Iterable[tuple[Description | None, Any]]) -> None:
        """Add a sample and its results, with their descriptions."""
        for described, data in results:
            self._kept |= data_paths(data)
            if described is not None and id(described) not in self._results:
                self._results.add(id(described))
                self._possible |= members_of(described).keys()
        for path in data_paths(sample):
            self._examples.setdefault(path, sample)

    def lost_paths(self, function: Callable[..., Any] | tuple[Change, ...]) -> list[str]:
        """Return the members that no result has, without those that the upcaster declares and those inside others."""
        declared = _declared_paths(() if callable(function) else function)
        lost = {path for path in self._examples.keys() & self._possible if path not in self._kept | declared}
        return sorted(path for path in lost if not any(_is_inside(path, other) for other in lost))

    def example(self, path: str) -> Any:
        """Return a sample that has a member."""
        return self._examples[path]

    def paths_of(self, sample: Any) -> set[str]:
        """Return the members of a sample."""
        return data_paths(sample)


def _declared_paths(changes: Iterable[Change]) -> set[str]:
    paths = (
        each.path if isinstance(each, Dropped) else each.old for each in changes if isinstance(each, Dropped | Renamed)
    )
    return set(paths)


def _is_inside(path: str, other: str) -> bool:
    return path != other and path.startswith((f"{other}.", f"{other}[]"))
