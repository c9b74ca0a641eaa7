"""Runs the tests of events on several versions of Python, each in an environment of its own.

    python -m tests.pythons 3.11=lowest 3.12 3.13

`=lowest` installs the oldest packages that pyproject.toml allows. A Python that is not installed is reported and left
out; none is downloaded.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"
TESTS = ("tests/schema", "tests/evolution", "tests/events", "tests/property")
PACKAGES = (
    "aiosqlite", "anyio", "hypothesis", "psutil", "pytest>=9.0", "pytest-timeout", "pytest-xdist", "typing-extensions",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="+", metavar="VERSION[=lowest]")
    parser.add_argument("--folder", type=Path, required=True, help="where the environments are made")
    parser.add_argument("--tests", nargs="*", default=TESTS)
    options = parser.parse_args()
    results = {each: run(each, options.folder / each, options.tests) for each in options.pythons}
    print(*(f"{name:12} {result}" for name, result in results.items()), sep="\n")
    sys.exit("failed" in results.values())


def run(name: str, folder: Path, tests: list[str]) -> str:
    version, _, resolution = name.partition("=")
    make = [UV, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", version, folder]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UV_P")}
    if subprocess.run(make, env=environment, stderr=subprocess.DEVNULL, check=False).returncode:
        return "not installed"
    python = folder / "bin" / "python"
    choice = ["--resolution", "lowest-direct"] if resolution == "lowest" else []
    for packages in ([*choice, f"{ROOT}[all]"], PACKAGES):
        subprocess.run([UV, "pip", "install", "--quiet", "--python", python, *packages], env=environment, check=True)
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    command = [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-k", "not postgres", *tests]
    command += ["-W", "default::DeprecationWarning"] if choice else []  # an old typer warns of a new click
    done = subprocess.run(command, cwd=ROOT, env=environment | {"PYTHONPATH": path}, check=False)
    return "failed" if done.returncode else "passed"


if __name__ == "__main__":
    main()
