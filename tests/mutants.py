"""Proof that the tests can fail: faults are planted one by one, and each must be noticed by the test named for it.

    python -m tests.mutants

Each fault goes into a copy of `src`, at its marker; only the named test runs, on the copy.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.planted import events, postgres, store, subscriptions
from tests.planted.mutant import Mutant, plant
from tests.planted.stale_names import stale_names

ROOT = Path(__file__).parents[1]
AT_ONCE = 2
TIMEOUT_S = 20
HANGS_S = 150

RUN = """
import sys, fait
assert fait.__file__.startswith(sys.argv[1]), f"{fait.__file__} is not the copy"
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""

MUTANTS: list[Mutant] = [*events.FAULTS, *store.FAULTS, *postgres.FAULTS, *subscriptions.FAULTS]


def pytest(source: Path, work: str, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests on the fait that lies in a folder; their files go to `work`, as runs clean up after each other."""
    options = ["-q", "-rf", "-p", "no:cacheprovider", f"--timeout={TIMEOUT_S}", f"--basetemp={work}/tests"]
    return subprocess.run(
        [sys.executable, "-c", RUN, str(source), *options, *tests],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=HANGS_S,
        text=True,
    )


def outcome(mutant: Mutant) -> str:
    """What became of a mutant: "killed", or why not."""
    with tempfile.TemporaryDirectory(prefix="fait-mutant-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        file = source / "fait" / mutant.file
        file.write_text(plant(file.read_text(encoding="utf-8"), mutant), encoding="utf-8")
        try:
            done = pytest(source, folder, mutant.test)
        except subprocess.TimeoutExpired:
            return "the test did not end"
    if done.returncode == 1 and f"FAILED {mutant.test}" in done.stdout:
        return "killed"
    return "survived" if done.returncode == 0 else f"the test did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def main() -> int:
    """Plant all faults; 0 if each was noticed."""
    stale = stale_names(MUTANTS, ROOT)
    if stale:
        print(*(f"{marker}: {message}" for marker, messages in stale.items() for message in messages), sep="\n")
        print("the faults above use names that the code no longer has")
        return 1
    with tempfile.TemporaryDirectory(prefix="fait-mutants-") as folder:
        whole = pytest(ROOT / "src", folder, *sorted({mutant.test for mutant in MUTANTS}))
    if whole.returncode:
        print(whole.stdout[-3000:], whole.stderr[-3000:], "the tests must pass before faults are planted", sep="\n")
        return 1
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(outcome, MUTANTS))
    for mutant, what in zip(MUTANTS, outcomes, strict=True):
        print(f"{mutant.fault:<52}  {what:<8}  {mutant.test.rpartition('::')[2]}")
    killed = outcomes.count("killed")
    print(f"{killed} killed, {len(MUTANTS) - killed} survived")
    return int(killed < len(MUTANTS))


if __name__ == "__main__":
    sys.exit(main())
