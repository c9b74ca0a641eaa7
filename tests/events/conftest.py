"""Stores for the tests of readers."""

from collections.abc import Callable

import pytest


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture(params=["memory", "sqlite", "postgres 18"])
def any_url(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    """A store of each backend. A test on PostgreSQL takes half a second."""
    return store_url(request.param)
