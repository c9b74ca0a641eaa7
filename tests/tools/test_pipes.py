"""Commands whose input or output is a pipe, with an encoding of standard output that is not UTF-8."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., Path]

EVENT = {"stream": "übung-1", "type": "Grüße", "time": "2024-01-15T12:00:00Z", "data": {"text": "ü€😀"}}


def fait(*arguments: object, encoding: str = "utf-8", given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-c", "from fait._tools.cli.main import run; run()", *(str(each) for each in arguments)],
        check=False,
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        input=given,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
@pytest.mark.parametrize(
    "command",
    [["export"], ["streams"], ["events"], ["events", "--json"], ["stream", "übung-1"], ["state", "übung-1"]],
    ids=" ".join,
)
def test_output_to_a_pipe_is_utf_8_in_every_locale(
    store: str, jsonl: Write, run: Callable[..., Any], encoding: str, command: list[str]
) -> None:
    run("import", jsonl([EVENT]), "-s", store)

    result = fait(*command, "-s", store, encoding=encoding)

    assert (result.returncode, result.stderr) == (0, b"")
    assert "ü" in result.stdout.decode()
    assert command != ["export"] or json.loads(result.stdout) == EVENT


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/stdin")
def test_import_reads_a_pipe(store: str) -> None:
    line = json.dumps(EVENT).encode() + b"\n"

    imported = fait("import", "/dev/stdin", "-s", store, "--json", given=line * 3000)

    assert json.loads(imported.stdout)["written"] == 3000
    assert fait("export", "-s", store).stdout.count(b"\n") == 3000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/stdin")
def test_gzipped_pipe_is_refused_with_the_remedy(store: str) -> None:
    result = fait("import", "/dev/stdin", "-s", store, given=gzip.compress(json.dumps(EVENT).encode()))

    assert result.returncode == 1
    assert b"a pipe cannot be gzipped. Decompress the data with gunzip" in result.stderr
