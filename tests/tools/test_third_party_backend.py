"""The command line on a backend of another package, which stores in SQLite files under a scheme of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Install = Callable[[str, str], Path]

IN_FILES = """
import fait.store
from fait._store.open import backend_of

def in_sqlite(url):
    return url.replace("mystore:", "sqlite:")

class MyBackend(fait.store.Backend):
    async def open(self, url, clock, *, create):
        return await fait.store.open_store(in_sqlite(url), clock=clock, create=create)

    def admin(self, url):
        return fait.store.open_admin(in_sqlite(url))

    def sibling_url(self, url, name):
        return backend_of("sqlite:").sibling_url(in_sqlite(url), name).replace("sqlite:", "mystore:")

backend = MyBackend()
"""


@pytest.fixture(autouse=True)
def installed(install_backend: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(install_backend("mystore", IN_FILES)), prepend=":")


@pytest.fixture
def url(store: str) -> str:
    return store.replace("sqlite:", "mystore:")


def test_db_creates_and_lists_the_store(run: Run, url: str) -> None:
    assert [run("db", command, "-s", url).exit_code for command in ("status", "init", "status")] == [1, 0, 0]


def test_doctor_reports_the_findings_of_the_store(run: Run, url: str) -> None:
    run("db", "init", "-s", url)

    result = run("doctor", "-s", url, "--json")

    assert result.exit_code == 0
    assert {"journal mode", "pages"} < {each["name"] for each in json.loads(result.stdout)["checks"]}


def test_verify_store_without_driver_verifies_appends_but_no_outbox(run: Run, url: str, tmp_path: Path) -> None:
    result = run("verify-store", url, "--minutes", 0.03, "--processes", 1, "--json")

    report = json.loads(result.stdout)
    assert (result.exit_code, report["violations"], report["rolled_back"]) == (0, {}, 0), result.output
    assert report["acknowledged"] > 0
    assert [each["name"] for each in report["unsafe_settings"]] == ["outbox"]
    assert list(tmp_path.glob("fait_verify_*")) == []
