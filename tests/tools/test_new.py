"""`fait new` creates a project that passes its own tests and all checks, and changes nothing that exists."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fait._tools.cli import new
from tests.tools.dev_server import STARTER

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the command."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_fastapi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new, "find_spec", lambda name: None if name == "fastapi" else importlib.util.find_spec(name))


def texts(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text("utf-8") for each in folder.iterdir() if each.is_file()}


def check(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)


def test_project_has_at_most_6_files_and_60_lines_of_domain_code(run: Run, folder: Path) -> None:
    output = run("new", "bookstore")
    files = texts(folder / "bookstore")

    assert (output.exit_code, output.stderr) == (0, "")
    assert files.keys() == {"README.md", "pyproject.toml", ".gitignore", "bookstore.py", "api.py", "test_bookstore.py"}
    assert len(files["bookstore.py"].splitlines()) <= 60
    assert "shop" not in "".join(files.values())


@pytest.mark.parametrize("extra", [True, False], ids=["with FastAPI", "without FastAPI"])
def test_project_passes_its_tests(run: Run, folder: Path, extra: bool, request: pytest.FixtureRequest) -> None:
    if not extra:
        request.getfixturevalue("no_fastapi")
    assert run("new", "bookstore").exit_code == 0

    done = check(folder / "bookstore", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_project_passes_ruff_and_strict_type_checkers(run: Run, folder: Path) -> None:
    assert run("new", "bookstore").exit_code == 0
    project = folder / "bookstore"
    (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')

    for command in (
        "ruff format --check --isolated --no-cache .",
        "ruff check --select B,E,F,I,RUF,UP --isolated --no-cache .",
        f"pyright --pythonpath {sys.executable}",
        f"mypy --strict --cache-dir {os.devnull} .",
    ):
        done = check(project, *command.split())
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("no_fastapi")
def test_project_without_fastapi_does_not_mention_an_api(run: Run, folder: Path) -> None:
    assert run("new", "rapid").exit_code == 0
    files = texts(folder / "rapid")

    assert files.keys() == {"README.md", "pyproject.toml", ".gitignore", "rapid.py", "test_rapid.py"}
    assert not re.search(r"\bapi\b|fastapi|\bAPI\b", "".join(files.values()))
    assert 'app = "rapid:app"' in files["pyproject.toml"]


def test_output_names_the_next_commands(run: Run, folder: Path) -> None:
    lines = run("new", "bookstore").stdout.splitlines()

    assert [line.split("#")[0].strip() for line in lines if line.startswith("  ")] == [
        "cd bookstore", "pytest", "fait dev",
    ]  # fmt: skip


def test_folder_that_is_not_empty_is_refused_and_unchanged(run: Run, folder: Path) -> None:
    (folder / "bookstore").mkdir()
    (folder / "bookstore" / "notes").write_text("mine")

    output = run("new", "bookstore")

    assert (output.exit_code, output.stdout) == (1, "")
    assert "exists and is not empty. Nothing was written." in output.stderr
    assert texts(folder / "bookstore") == {"notes": "mine"}


def test_empty_folder_is_used(run: Run, folder: Path) -> None:
    (folder / "bookstore").mkdir()

    assert run("new", "bookstore").exit_code == 0
    assert len(texts(folder / "bookstore")) == 6


@pytest.mark.parametrize("kind", ["file", "link to a folder", "broken link"])
def test_file_or_link_in_place_of_the_folder_is_refused(run: Run, folder: Path, kind: str) -> None:
    target = folder / "elsewhere"
    if kind == "file":
        (folder / "bookstore").write_text("mine")
    else:
        (folder / "bookstore").symlink_to(target)
        if kind == "link to a folder":
            target.mkdir()

    output = run("new", "bookstore")

    assert output.exit_code == 1
    assert "exists and is a file or a link. Nothing was written." in output.stderr
    assert not target.exists() or not list(target.iterdir())


def test_link_that_appears_in_the_folder_is_neither_followed_nor_replaced(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_and_link(name: str) -> int:
        descriptor = original(name)
        (folder / name / "api.py").symlink_to(folder / "secret")
        return descriptor

    original = new._open_new_folder
    monkeypatch.setattr(new, "_template", lambda: STARTER)  # a copy of `src` alone has none
    monkeypatch.setattr(new, "_open_new_folder", open_and_link)
    (folder / "secret").write_text("mine")

    output = run("new", "bookstore")

    assert (output.exit_code, output.stderr) == (1, "fait: api.py: File exists\n")
    assert (folder / "secret").read_text() == "mine"


INVALID_NAMES = ["My-Shop", "class", "json", "pytest", "fait", "api", "9lives", "", "../other", "/tmp/other"]
INVALID_NAMES += ["größe", "a" * 41, "a.b", "a b", "-", "x\n", "None"]


@pytest.mark.parametrize("name", INVALID_NAMES)
def test_invalid_name_is_refused_with_a_command_that_works(run: Run, folder: Path, name: str) -> None:
    output = run("new", "--", name)

    assert output.exit_code == 2
    assert "Nothing was written." in output.stderr
    assert list(folder.iterdir()) == []
    command = output.stderr.rpartition("Type: ")[2]
    assert run(*shlex.split(command)[1:]).exit_code == 0, command
