"""Runs one workload of one subject once, in its own process: child.py SUBJECT WORKLOAD N FILE -> JSON."""

import asyncio
import importlib
import inspect
import json
import sys

NOT_INSTALLED = 3


def main(subject: str, workload: str, n: int, path: str) -> int:
    try:
        module = importlib.import_module(f"subjects.{subject}")
    except ModuleNotFoundError as missing:
        print(f"{missing} (install it with: make bench)", file=sys.stderr)
        return NOT_INSTALLED
    if workload not in module.WORKLOADS:  # not supported by this version of the subject
        print("{}")
        return 0
    found = module.WORKLOADS[workload](path, n)
    found = asyncio.run(found) if inspect.iscoroutine(found) else found
    print(json.dumps({**found, "table": module.TABLE}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
