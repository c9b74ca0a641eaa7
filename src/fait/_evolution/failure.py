"""What is raised when an event does not pass a hop."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from fait._events.conversion import encode_plain
from fait._evolution.hops import Hop

__all__ = ["HopFailure", "as_json"]


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


def as_json(value: Any) -> str:
    """Return the JSON of a value for a message."""
    try:
        return json.dumps(msgspec.json.decode(encode_plain(value)), ensure_ascii=False)
    except Exception:
        return repr(value)
