"""Mutation testing with chosen mutants: each planted fault must make the test that is named for it fail.

    python -m tests.mutants [NAME ...]

A name is that of a marker, as in `# fault: NAME`; without names, all faults are planted.

Each fault is planted in its own copy of `src`, at its marker, and only the named test runs on that copy. Before that,
all named tests must pass on the unchanged code. The exit code is 1 if a fault survives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.planted import advice, design, events, evolution, http, locks, postgres, schema, store, subscriptions
from tests.planted.mutant import Mutant, plant
from tests.planted.stale_names import stale_names

ROOT = Path(__file__).parents[1]
MAX_CONCURRENT_RUNS = 2
TEST_TIMEOUT_S = 20
"""Timeout for one test, applied by pytest."""

RUN_TIMEOUT_S = 150
"""Timeout for a whole run of pytest; a fault may hang it where its own timeout does not apply."""

RUN = """
import sys, fait
assert fait.__file__.startswith(sys.argv[1]), f"{fait.__file__} is not the copy"
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""

MUTANTS: list[Mutant] = [
    *advice.FAULTS,
    *events.FAULTS,
    *schema.FAULTS,
    *locks.FAULTS,
    *evolution.FAULTS,
    *design.FAULTS,
    *store.FAULTS,
    *postgres.FAULTS,
    *subscriptions.FAULTS,
    *http.FAULTS,
]


def pytest(source: Path, work: str, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests on the copy of fait in `source`.

    Temporary files go to `work`: concurrent runs of pytest delete each other's default folders.
    """
    options = ["-q", "-rf", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT_S}", f"--basetemp={work}/tests"]
    return subprocess.run(
        [sys.executable, "-c", RUN, str(source), *options, *tests],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=RUN_TIMEOUT_S,
        text=True,
    )


def outcome(mutant: Mutant) -> str:
    """The result of one mutant: "killed" if its test failed, otherwise the reason why it was not."""
    with tempfile.TemporaryDirectory(prefix="fait-mutant-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        file = source / "fait" / mutant.file
        file.write_text(plant(file.read_text(encoding="utf-8"), mutant), encoding="utf-8")
        try:
            run = pytest(source, folder, mutant.test)
        except subprocess.TimeoutExpired:
            return f"no result after {RUN_TIMEOUT_S} s"
    if run.returncode == 1 and f"FAILED {mutant.test}" in run.stdout:
        return "killed"
    return "survived" if run.returncode == 0 else f"the test did not run:\n{run.stdout[-2000:]}{run.stderr[-2000:]}"


def selected(names: Sequence[str]) -> list[Mutant]:
    """The mutants with these names, or all of them if there are no names; exits if a name is unknown."""
    if unknown := sorted(set(names) - {mutant.marker for mutant in MUTANTS}):
        sys.exit(f"Unknown faults: {', '.join(unknown)}. The names are in tests/planted. No fault was planted.")
    return [mutant for mutant in MUTANTS if not names or mutant.marker in names]


def main(names: Sequence[str]) -> int:
    """Plant the named faults, or all of them; 0 if each was killed."""
    mutants = selected(names)
    stale = stale_names(mutants, ROOT)
    if stale:
        print(*(f"{marker}: {message}" for marker, messages in stale.items() for message in messages), sep="\n")
        print("The replacements above use names that the code no longer has: update them in tests/planted.")
        return 1
    with tempfile.TemporaryDirectory(prefix="fait-mutants-") as folder:
        unchanged = pytest(ROOT / "src", folder, *sorted({mutant.test for mutant in mutants}))
    if unchanged.returncode:
        print(unchanged.stdout[-3000:], unchanged.stderr[-3000:], sep="\n")
        print("No fault was planted: the named tests above fail on the unchanged code.")
        return 1
    with ThreadPoolExecutor(MAX_CONCURRENT_RUNS) as pool:
        outcomes = list(pool.map(outcome, mutants))
    for mutant, result in zip(mutants, outcomes, strict=True):
        print(f"{mutant.fault:<52}  {result:<8}  {mutant.test.rpartition('::')[2]}")
    killed = outcomes.count("killed")
    print(f"{killed} killed, {len(mutants) - killed} survived")
    return int(killed < len(mutants))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
