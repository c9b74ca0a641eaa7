"""The entry point: missing extra, version, help, and the demo."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from fait._tools.cli import main

Run = Callable[..., Any]


def test_missing_extra_prints_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "find_spec", lambda name: None)

    with pytest.raises(SystemExit) as caught:
        main.run()

    output = capsys.readouterr()
    assert (caught.value.code, output.out, output.err.count("\n")) == (2, "", 1)
    assert 'pip install "fait[cli]"' in output.err


def test_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").stdout == f"fait {version('fait')}\n"


def test_every_command_has_help(run: Run) -> None:
    output = run("--help").stdout
    names = (
        *("new", "dev", "import", "export", "streams", "stream", "events", "state", "tail", "status", "doctor"),
        *("rebuild", "parked", "pause", "resume", "skip", "rewind", "actions", "demo"),
    )
    for name in names:
        assert f"  {name} " in output
        assert run(name, "--help").exit_code == 0


def test_demo_creates_the_given_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "shop.db"

    assert run("demo", "--orders", 30, "--file", file).exit_code == 0
    assert run("doctor", "-s", f"sqlite:///{file}").exit_code == 0
    assert "exists" in run("demo", "--orders", 30, "--file", file).stderr


@pytest.mark.parametrize(("correct", "code"), [(True, 0), (False, 1)])
def test_demo_exit_code_is_the_result_of_its_audit(
    run: Run, monkeypatch: pytest.MonkeyPatch, correct: bool, code: int
) -> None:
    called: list[tuple[str, int]] = []

    async def shop(path: Path, *, orders: int) -> bool:
        called.append((path.name, orders))
        return correct

    monkeypatch.setattr("fait._tools.cli.demo._load_demo", lambda: shop)

    assert run("demo", "--orders", 7).exit_code == code
    assert called == [("shop.db", 7)]
