"""Four processes with sixteen callers each write to one file: no append fails, and no process starves."""

import json
from pathlib import Path

from tests.crash.counting import counting_app
from tests.crash.processes import Child, program, until

PROCESSES = 4


async def test_processes_write_to_one_file_fairly_and_without_errors(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    async with counting_app().open(url, run="elsewhere"):
        pass
    children = [Child(program("counting.py"), "share", url, str(number)) for number in range(PROCESSES)]
    try:
        until(lambda: all(child.has_printed(2) for child in children), timeout_s=60)
    finally:
        for child in children:
            child.kill()
    done = [json.loads(child.lines[1]) for child in children]

    assert [each["errors"] for each in done] == [0] * PROCESSES
    appended = [each["appended"] for each in done]
    assert min(appended) >= 0.5 * sum(appended) / PROCESSES, appended
    async with counting_app().open(url, run="elsewhere") as system:
        assert await system.store.log.head() == sum(appended)
