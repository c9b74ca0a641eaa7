"""Where the command begins: without its extra, with its version, and with the shop."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from fait._tools.cli import main

Run = Callable[..., Any]


def test_without_the_extra_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "find_spec", lambda name: None)

    with pytest.raises(SystemExit) as ended:
        main.run()

    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert 'pip install "fait[cli]"' in told.err


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version").stdout == f"fait {version('fait')}\n"


def test_every_command_has_help(run: Run) -> None:
    told = run("--help").stdout
    for name in ("import", "export", "streams", "stream", "events", "state", "tail", "doctor", "rebuild", "demo"):
        assert f"  {name} " in told
        assert run(name, "--help").exit_code == 0


def test_the_demo_runs_the_shop_and_keeps_its_file(run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "shop.db"

    assert run("demo", "--orders", 30, "--keep", kept).exit_code == 0
    assert run("doctor", "-s", f"sqlite:///{kept}").exit_code == 0
    assert "exists" in run("demo", "--orders", 30, "--keep", kept).stderr


@pytest.mark.parametrize(("well", "code"), [(True, 0), (False, 1)])
def test_the_demo_ends_as_its_sums_do(run: Run, monkeypatch: pytest.MonkeyPatch, well: bool, code: int) -> None:
    called: list[tuple[str, int]] = []

    async def shop(path: Path, *, orders: int) -> bool:
        called.append((path.name, orders))
        return well

    monkeypatch.setattr("fait._tools.cli.demo._load_demo", lambda: shop)

    assert run("demo", "--orders", 7).exit_code == code
    assert called == [("shop.db", 7)]
