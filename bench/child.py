"""Runs one workload of one subject once, in a process of its own: child.py SUBJECT WORKLOAD N FILE -> JSON."""

import asyncio
import importlib
import inspect
import json
import sys


def main(subject: str, workload: str, n: int, path: str) -> None:
    module = importlib.import_module(f"subjects.{subject}")
    found = module.WORKLOADS[workload](path, n)
    print(json.dumps(asyncio.run(found) if inspect.iscoroutine(found) else found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
