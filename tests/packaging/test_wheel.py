"""The wheel and the sdist are complete, and work without other packages."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from fait._delivery.brokers.open import BUILT_IN as BROKERS
from fait._store.open import BUILT_IN
from fait._tools.cli import new

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def uv(*arguments: str | Path) -> None:
    program = shutil.which("uv", path=os.pathsep.join([str(BIN), os.environ["PATH"]]))
    assert program, "uv is not installed: make install"
    done = subprocess.run([program, *arguments], check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of an environment with only the wheel, without extras."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    uv("venv", "--quiet", "--python", sys.executable, environment)
    uv("pip", "install", "--quiet", "--python", environment / "bin" / "python", next(dist.glob("*.whl")))
    return environment / "bin"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True)


def inside(*folders: str) -> set[str]:
    """Paths of the source files that must be included, relative to the root."""
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in {".html", ".css", ".js", ".py", ".sql", ".toml", ".typed"}
    }


def test_wheel_contains_the_package_its_sql_the_shop_and_the_new_project(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())

    in_wheel = {path.removeprefix("src/") for path in inside("src/fait")}
    in_wheel |= {f"fait/{path}" for path in inside("examples/shop")}
    in_wheel |= {f"fait/examples/starter/{name}" for name in new._FILES}
    assert "fait/py.typed" in in_wheel
    assert in_wheel - names == set()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fait", "_fait_pytest.py"}


def test_wheel_declares_the_backends(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        [path] = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
        entry_points = wheel.read(path).decode()

    expected = "".join(f"{name} = {module}:backend\n" for name, module in sorted(BUILT_IN.items()))
    assert f"[fait.backends]\n{expected}" in entry_points


def test_wheel_declares_the_brokers(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        [path] = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
        entry_points = wheel.read(path).decode()

    expected = "".join(f"{name} = {module}:open_broker\n" for name, module in sorted(BROKERS.items()))
    assert f"[fait.brokers]\n{expected}" in entry_points


def test_sdist_contains_sources_tests_and_docs(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    assert inside("src", "tests", "examples", "docs") - names == set()
    assert {"LICENSE", "Makefile", "pyproject.toml", "uv.lock"} - names == set()


def test_library_imports_without_extras(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "python", "-c", "import fait; print(*fait.__all__)", cwd=tmp_path)

    assert done.returncode == 0, done.stderr


def test_command_without_its_extra_prints_the_install_command(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "fait", "--help", cwd=tmp_path)

    assert done.returncode != 0
    assert 'pip install "fait[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


OPEN_SQLITE = """
import asyncio, fait

async def main():
    async with fait.App("bare").open("memory:"):
        pass
    try:
        async with fait.App("bare").open("sqlite:///bare.db"):
            pass
    except fait.MissingExtra as missing:
        print(missing)

asyncio.run(main())
"""


def test_opening_a_store_without_its_driver_names_the_extra(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "python", "-c", OPEN_SQLITE, cwd=tmp_path)

    assert 'pip install "fait[sqlite]"' in done.stdout, done.stderr
    assert not (tmp_path / "bare.db").exists()
