"""Tools for testing backends and applications.

- `fait.testing.contract`: the tests that every backend must pass, as classes to subclass. Needs pytest and anyio.
- `fait.testing.strategies`: Hypothesis strategies for events, appends, queries and reading bounds. Needs hypothesis.
- `fait.testing.event_check`: `check_events`, which checks the event types of an app against their locks. So does
  `pytest --fait-schema`.

Other tests of applications need no tools: open the app on `"memory:"` or on an SQLite file in a temporary directory,
and pass a `fait.ManualClock` to control the time.
"""
