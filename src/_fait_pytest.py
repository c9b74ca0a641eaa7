"""A pytest plugin: fixtures, readable differences of events, and `pytest --fait-schema`.

`--fait-schema` adds a test for each event type of the app that pyproject.toml names. Each test fails with what `fait
schema check` reports of its type.

    [tool.fait]
    app = "shop.app:shop"

The fixtures `fait_clock` and `fait_url` have effects only in tests that ask for them. If `assert one == other` fails
for events, rows or lists of them, the fields that differ are shown. The module is no part of the package `fait`,
because pytest imports it in every run: unless one of this is used, nothing of fait is imported.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fait._clock import ManualClock

__all__ = [
    "EventTypeItem",
    "fait_clock",
    "fait_url",
    "pytest_addoption",
    "pytest_assertrepr_compare",
    "pytest_collection_modifyitems",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("fait")
    help = "also check the event types of the app in [tool.fait] of pyproject.toml against their locks"
    group.addoption("--fait-schema", action="store_true", help=help)
    help = "kind of the new store that the fixture fait_url names: in memory, or an SQLite file"
    group.addoption("--fait-store", choices=("memory", "sqlite"), default="memory", help=help)


@pytest.fixture
def fait_clock() -> "ManualClock":
    """A clock that stands still at 2024-01-01 00:00 UTC until the test advances it."""
    from fait._clock import ManualClock
    from fait.testing.in_memory import START

    return ManualClock(START)


@pytest.fixture
def fait_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new store, of the kind that the option `--fait-store` names."""
    is_file = request.config.getoption("--fait-store") == "sqlite"
    return f"sqlite:///{tmp_path / 'fait.db'}" if is_file else "memory:"


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain why two events, rows, or lists of them are not equal."""
    if op != "==" or "fait" not in sys.modules:
        return None
    from fait.testing.differences import explain

    return explain(left, right)


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each event type, if the option is given."""
    if config.getoption("--fait-schema"):
        items += _items(session)


def _items(session: pytest.Session) -> Iterable[pytest.Item]:
    from fait._errors import FaitError
    from fait.testing.event_check import report_of

    try:
        report = report_of(_app())
    except (FaitError, ImportError, AttributeError) as error:
        raise pytest.UsageError(f"--fait-schema: {error}") from None
    item_type: Any = EventTypeItem
    for name in sorted({*report.versions, *(each.type for each in report.failures)}):
        found = [each for each in report.failures if each.type == name]
        item = item_type.from_parent(session, name=f"fait-schema::{name or 'settings'}")
        item.violations = found
        yield item


def _app() -> Any:
    from pkgutil import resolve_name

    from fait._clock import now
    from fait._errors import UsageError
    from fait._evolution.locks.settings import read_settings

    target = read_settings(Path.cwd(), today=now().date()).app
    if not target:
        raise UsageError('name the app in pyproject.toml: [tool.fait] app = "shop.app:shop"')
    return resolve_name(target)


class EventTypeItem(pytest.Item):
    """The test of one event type.

    Attributes:
        violations: what the check reported of the type.
    """

    violations: list[Any]

    def runtest(self) -> None:
        """Fail if there are violations."""
        from fait._evolution.check.render import render

        if self.violations:
            pytest.fail("\n\n".join(map(render, self.violations)), pytrace=False)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return the place for reports."""
        return self.path, None, self.name
