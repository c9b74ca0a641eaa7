"""The names of topics; and their numbers of lanes, for adapters that store these at the broker themselves."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import groupby
from typing import Final

from fait._broker_errors import TopologyMismatch
from fait._delivery.brokers.port import Lane, Topology
from fait._store.ports.store import Finding

__all__ = ["TOPIC_RULE", "Topics", "is_topic"]

TOPIC_RULE: Final = (
    "a topic has 1 to 200 lower-case letters, digits, '-', '_' and '.', and begins with a letter or a digit"
)
"""Which names topics have that fait creates and publishes to, as a part of a sentence."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,199}")


def is_topic(name: object) -> bool:
    """Whether fait can create a topic with this name and publish to it."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


class Topics:
    """Numbers of lanes.

    Args:
        name: URL of the broker, without passwords.
        read: returns the number of lanes of a topic at the broker; None: there is no such topic.
    """

    def __init__(self, name: str, read: Callable[[str], Awaitable[int | None]]) -> None:
        self._name = name
        self._read = read

    async def lanes(self, topic: str) -> tuple[Lane, ...]:
        """Return the lanes of a topic.

        Raises:
            TopologyMismatch: the topic is missing.
        """
        if not (lanes := await self._read(topic)):
            raise self.mismatch({topic: "is missing" if lanes is None else "has no number of lanes"})
        return tuple(Lane(topic, number) for number in range(lanes))

    async def require_lanes(self, lanes: Iterable[Lane]) -> None:
        """Check that lanes exist.

        Raises:
            TopologyMismatch: a topic is missing, or has not that lane.
        """
        for topic, given in groupby(sorted(lanes), key=lambda each: each.topic):
            if missing := set(given) - set(await self.lanes(topic)):
                raise self.mismatch({topic: f"has no lane {min(missing).number}"})

    def mismatch(self, problems: Mapping[str, str]) -> TopologyMismatch:
        """Return the error of wrong topics."""
        return TopologyMismatch(self._name, problems)

    async def findings(self, topology: Topology, create: Callable[[str, int], Awaitable[None]] | None) -> list[Finding]:
        """Compare topics with the broker's.

        Args:
            topology: the topics.
            create: stores the number of lanes of a missing topic; None: nothing is created.
        """
        return [await self._finding(topic, lanes, create) for topic, lanes in topology.topics.items()]

    async def _finding(self, topic: str, lanes: int, create: Callable[[str, int], Awaitable[None]] | None) -> Finding:
        stored = await self._read(topic)
        if stored is None and create is not None:
            await create(topic, lanes)
            stored = await self._read(topic)
        name = f"topic {topic}"
        if stored is None:
            return Finding(name, "problem", "it is missing", "create it: fait broker check --create")
        if stored != lanes:
            advice = "declare the number that the broker has; to change it, drain the topic first, because keys move"
            return Finding(name, "problem", f"it has {stored} lanes, not {lanes}", advice)
        return Finding(name, "ok", f"{stored} lanes")
