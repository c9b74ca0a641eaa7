"""What is raised when an event does not pass a hop."""

from collections.abc import Sequence
from typing import Any

from fait._evolution.check.hops import Hop

__all__ = ["HopFailure"]


class HopFailure(Exception):
    """An event does not pass a hop.

    Attributes:
        rule: the rule that is violated.
        hop: the hop.
        kind: two failures of one hop with the same kind have the same cause.
        details: what happened.
        data: the input of the hop; UNSET if it does not matter.
        paths: the members that are concerned.
    """

    def __init__(
        self, rule: str, hop: Hop, kind: str, details: list[str], data: Any, paths: Sequence[str] = ()
    ) -> None:
        super().__init__(rule, hop.label, kind)
        self.rule = rule
        self.hop = hop
        self.kind = kind
        self.details = details
        self.data = data
        self.paths = paths

    @property
    def key(self) -> tuple[object, ...]:
        """Failures with one key are reported once."""
        return (self.rule, self.hop.key, self.kind)
