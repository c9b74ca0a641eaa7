"""Tools for testing applications and backends.

For applications, here:

- `given`: given events, when a command, then events; or, of a read model, rows.
- `handled`: the effects of a handler; `recorded`: an event as the log returns it.
- `running`: a whole app, for tests of what its parts do together.

In modules:

- `fait.testing.faults`: faults of the store, as context managers: conflicts, crashes, redelivery.
- `fait.testing.laws`: laws that hold for every history, each checked with one line.
- `fait.testing.contract`: the tests that every backend must pass, as classes to subclass. Needs pytest and anyio.
- `fait.testing.strategies`: Hypothesis strategies for events and histories of an application; and, for backends, for
  appends, queries and reading bounds. Needs hypothesis.
- `fait.testing.event_check`: `check_events`, which checks the event types of an app against their locks. So does
  `pytest --fait-schema`.
"""

from types import FunctionType

from fait.testing.decisions import AggregateCase, BoundaryCase, DeciderCase
from fait.testing.given import given
from fait.testing.handlers import Effects, handled, recorded
from fait.testing.read_models import ReadModelCase
from fait.testing.running import running

__all__ = [
    "AggregateCase",
    "BoundaryCase",
    "DeciderCase",
    "Effects",
    "ReadModelCase",
    "given",
    "handled",
    "recorded",
    "running",
]

for _name in __all__:
    _exported: object = globals()[_name]
    if isinstance(_exported, type | FunctionType):
        _exported.__module__ = "fait.testing"
