"""Runs one workload of one subject once, in its own process: child.py SUBJECT WORKLOAD N URL -> JSON."""

import asyncio
import importlib
import inspect
import json
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any

from postgres.crowd import race
from postgres.goals import SUBJECTS

__all__ = ["NOT_INSTALLED", "main"]

NOT_INSTALLED = 3


def main(subject: str, workload: str, n: int, url: str) -> int:
    try:
        module = importlib.import_module(f"postgres.subjects.{SUBJECTS[subject].module}")
        if workload == "follow":
            threading.Thread(target=_end_with_input, daemon=True).start()
        if workload == "W3":
            found = race(subject, n, url)
        else:
            found = module.WORKLOADS[workload](url, n)
            found = _run(found, SUBJECTS[subject].loop) if inspect.iscoroutine(found) else found
    except ModuleNotFoundError as missing:
        print(f"{missing} (install it with: make bench-postgres)", file=sys.stderr)
        return NOT_INSTALLED
    if found is not None:  # otherwise the workload printed its result
        table = module.table(url) if hasattr(module, "table") else module.TABLE
        with open(sys.stdout.fileno(), "w", closefd=False) as answer:  # in one write, even if PYTHONUNBUFFERED is set
            print(json.dumps({**found, "table": table}), file=answer)
    return 0


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def _run(work: Coroutine[Any, Any, Any], loop: str) -> Any:
    if loop == "uvloop":
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the threads of some clients prevent the exit of the interpreter, or crash during it
