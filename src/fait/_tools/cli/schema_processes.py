"""Runs the upcasters of an app in a second process with another hash seed, for `fait schema check`.

The order of a set of strings is another one in each process, so an upcaster that depends on it gives other results.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fait._events.registry import Registry
from fait._evolution.check.processes import compare_processes, result_digests, upcaster_inputs
from fait._evolution.locks.lock import Locks
from fait._evolution.locks.violation import RuleViolation
from fait._tools.cli.output import print_message
from fait._tools.cli.schema_project import open_project

__all__ = ["SecondProcess", "second_process", "write_digests"]


class SecondProcess:
    """A process that computes the results of the upcasters with another hash seed.

    It imports the app, and then waits for the inputs of the upcasters.
    """

    def __init__(self, process: subprocess.Popen[bytes], seed: int) -> None:
        self._process = process
        self._seed = seed

    def compare(self, registry: Registry, locks: Locks) -> list[RuleViolation]:
        """Return a violation for each upcaster whose results differ in this process and in the other one."""
        inputs = upcaster_inputs(registry, locks, seed=self._seed)
        output, _ = self._process.communicate(json.dumps(inputs).encode())
        if self._process.returncode:
            print_message("note: upcasters were not compared with a second process: it could not import the app")
            return []
        return compare_processes(registry, result_digests(registry, inputs), json.loads(output))


@contextmanager
def second_process(app: str | None, locks: Path | None, seed: int) -> Generator[SecondProcess]:
    """Start the process; it ends with the block at the latest."""
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    arguments = json.dumps([app, None if locks is None else str(locks)])
    with subprocess.Popen(  # noqa: S603 - this program itself
        [sys.executable, "-c", f"import {__name__} as module; module.write_digests()", arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield SecondProcess(process, seed)
        finally:
            process.kill()


def write_digests() -> None:
    """Write the results of the upcasters as JSON, in the second process, for the inputs that it reads."""
    app, locks = json.loads(sys.argv[1])
    output = os.dup(1)
    os.dup2(2, 1)  # what the app prints is no result
    registry = open_project(app, None if locks is None else Path(locks)).registry
    digests = result_digests(registry, json.load(sys.stdin))
    with open(output, "w") as results:
        json.dump(digests, results)
