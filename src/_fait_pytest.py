"""A pytest plugin: `pytest --fait-schema` adds a test for each event type of the app that pyproject.toml names.

    [tool.fait]
    app = "shop.app:shop"

Each test fails with what `fait schema check` reports of its type. The module is no part of the package `fait`, because
pytest imports it in every run: without the option, nothing of fait is imported.
"""

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["EventTypeItem", "pytest_addoption", "pytest_collection_modifyitems"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    help = "also check the event types of the app in [tool.fait] of pyproject.toml against their locks"
    parser.getgroup("fait").addoption("--fait-schema", action="store_true", help=help)


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
    from pathlib import Path
    from pkgutil import resolve_name

    from fait._clock import now
    from fait._errors import UsageError
    from fait._evolution.settings import read_settings

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
        from fait._evolution.render import render

        if self.violations:
            pytest.fail("\n\n".join(map(render, self.violations)), pytrace=False)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return the place for reports."""
        return self.path, None, self.name
