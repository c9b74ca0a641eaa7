"""Backends are found by name: built-in ones without metadata, others by their entry points."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import fait
import fait.store
from fait._store.open import BUILT_IN, append_in_transaction, backend_of

ROOT = Path(__file__).parents[2]
NOW = datetime(2024, 1, 15, tzinfo=UTC)

Install = Callable[[str, str], Path]

IN_MEMORY = """
import fait.store

class MyBackend(fait.store.Backend):
    opened = []

    async def open(self, url, clock, *, create):
        self.opened.append((url, create))
        return await fait.store.open_store("memory:", clock=clock)

backend = MyBackend()
"""


def test_entry_points_of_fait_are_the_built_in_backends() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["entry-points"]["fait.backends"] == {name: f"{module}:backend" for name, module in BUILT_IN.items()}


def test_opening_a_built_in_backend_reads_no_metadata_of_packages() -> None:
    program = "import asyncio, sys, fait.store; asyncio.run(fait.store.open_store('memory:')); print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "importlib.metadata" not in done.stdout.split()


@pytest.mark.parametrize("url", ["mystore://here", "MyStore:here"])
async def test_entry_point_of_another_package_is_found_by_its_scheme(install_backend: Install, url: str) -> None:
    install_backend("mystore", IN_MEMORY)

    assert fait.store.backend_names() == ["memory", "sqlite", "postgresql", "mystore"]
    async with fait.App("elsewhere").open(url, create=False) as s:
        assert s.store.log.features.durable is False
    assert vars(type(backend_of(url)))["opened"] == [(url, False)]


def test_unknown_url_names_the_schemes_of_all_installed_backends(install_backend: Install) -> None:
    install_backend("mystore", IN_MEMORY)

    with pytest.raises(fait.UsageError, match=r"one of memory:, sqlite:, postgresql:, mystore:$"):
        backend_of("redis://host/0")


def test_entry_point_named_like_a_built_in_backend_is_ignored(install_backend: Install) -> None:
    install_backend("memory", IN_MEMORY)

    assert backend_of("memory:").__class__.__module__ == "fait._store.memory.backend"
    assert fait.store.backend_names() == ["memory", "sqlite", "postgresql"]


def test_entry_point_that_is_no_backend_is_an_error_that_names_it(install_backend: Install) -> None:
    install_backend("mystore", IN_MEMORY.replace("MyBackend()", "MyBackend"))

    with pytest.raises(fait.UsageError, match=r"mystore = 'third_party:backend' in the group fait\.backends"):
        backend_of("mystore:")


def test_methods_that_a_backend_does_not_have_raise_usage_errors(install_backend: Install) -> None:
    install_backend("mystore", IN_MEMORY)
    backend = backend_of("mystore:")

    with pytest.raises(fait.UsageError, match=r"'mystore://u:\*\*\*@host' has no database schema"):
        backend.admin("mystore://u:secret@host")
    with pytest.raises(fait.UsageError, match=r"'mystore://u:\*\*\*@host' cannot be verified"):
        backend.sibling_url("mystore://u:secret@host", "other")
    with pytest.raises(fait.UsageError, match="an outbox cannot append to this kind of store"):
        append_in_transaction("mystore", [], "public", NOW, look_up=False)


def test_append_in_transaction_of_unknown_database_raises() -> None:
    with pytest.raises(fait.UsageError, match=r"to a 'mysql' database: .* Pass a connection to the PostgreSQL or SQLi"):
        append_in_transaction("mysql", [], "public", NOW, look_up=False)


@pytest.mark.parametrize(("dialect", "driver"), [("sqlite", "apsw"), ("postgresql", "asyncpg")])
def test_append_in_transaction_does_not_import_the_driver_of_the_store(dialect: str, driver: str) -> None:
    program = (
        "import sys; from datetime import datetime, UTC; from fait._store.open import append_in_transaction as append; "
        f"append({dialect!r}, [], 'public', datetime.now(UTC), look_up=False); print(*sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert driver not in done.stdout.split()


@pytest.mark.parametrize(
    ("url", "driver", "extra"), [("sqlite:///a.db", "apsw", "sqlite"), ("postgresql://h/d", "asyncpg", "postgres")]
)
async def test_missing_driver_names_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, driver: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)

    with pytest.raises(fait.MissingExtra, match=rf'pip install "fait\[{extra}\]"'):
        await fait.store.open_store(url)
    with pytest.raises(fait.MissingExtra, match=rf'pip install "fait\[{extra}\]"'):
        fait.store.open_admin(url)


@pytest.mark.parametrize(
    ("url", "sibling"),
    [
        ("sqlite:///shop.db", "sqlite:///other.db"),
        ("sqlite:////var/a%20b/shop.db?synchronous=NORMAL", "sqlite:////var/a%20b/other.db?synchronous=NORMAL"),
        ("postgresql://u:p@host/db?schema=shop&pool=5", "postgresql://u:p@host/db?schema=other&pool=5"),
        ("postgresql://host/db", "postgresql://host/db?schema=other"),
    ],
)
def test_sibling_url_keeps_place_and_options(url: str, sibling: str) -> None:
    assert backend_of(url).sibling_url(url, "other") == sibling
