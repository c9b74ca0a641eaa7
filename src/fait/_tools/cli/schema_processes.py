"""Runs the upcasters of an app in a second process with another hash seed, for `fait schema check`.

The order of a set of strings is another one in each process, so an upcaster that depends on it gives other results.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from fait._errors import FaitError
from fait._events.registry import Registry
from fait._evolution.lock import Locks
from fait._evolution.processes import compare_processes, result_digests
from fait._evolution.violation import RuleViolation
from fait._tools.cli.output import print_message
from fait._tools.cli.schema_project import open_project

__all__ = ["SecondProcess", "second_process", "write_digests"]

_SAMPLES: Final = 4
"""Number of generated samples for each upcaster: the order of a set differs in one of them almost certainly."""


class SecondProcess:
    """A process that computes the results of the upcasters with another hash seed."""

    def __init__(self, process: subprocess.Popen[bytes], results: Path, seed: int) -> None:
        self._process = process
        self._results = results
        self._seed = seed

    def compare(self, registry: Registry, locks: Locks) -> list[RuleViolation]:
        """Return a violation for each upcaster whose results differ in this process and in the other one."""
        here = result_digests(registry, locks, samples=_SAMPLES, seed=self._seed)
        there = self._digests()
        if there is None:
            print_message("note: upcasters were not compared with a second process: it could not import the app")
        return compare_processes(registry, here, there or {})

    def _digests(self) -> Mapping[str, str] | None:
        self._process.wait()
        return json.loads(self._results.read_bytes()) if self._results.exists() else None


@contextmanager
def second_process(app: str | None, locks: Path | None, seed: int) -> Generator[SecondProcess]:
    """Start the process; it ends with the block at the latest."""
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    code = f"import {__name__} as module; module.write_digests()"
    with TemporaryDirectory(prefix="fait-") as folder:
        results = Path(folder, "results")
        arguments = json.dumps([app, None if locks is None else str(locks), seed, str(results)])
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-c", code, arguments],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield SecondProcess(process, results, seed)
        finally:
            process.kill()
            process.wait()


def write_digests() -> None:
    """Write the results of the upcasters to a file, in the second process; the arguments are JSON in `sys.argv`."""
    app, locks, seed, results = json.loads(sys.argv[1])
    try:
        project = open_project(app, None if locks is None else Path(locks))
    except FaitError:  # the first process reports it
        return
    found: Any = result_digests(project.registry, project.folder.read()[0], samples=_SAMPLES, seed=seed)
    partial = Path(f"{results}.partial")
    partial.write_text(json.dumps(found))
    partial.rename(results)
