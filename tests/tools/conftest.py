"""The command line, run in this process."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from fait._tools.cli.commands import fait

Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("FAIT_STORE", raising=False)

    def invoke(*arguments: object, **options: Any) -> Any:
        return CliRunner().invoke(fait, [str(each) for each in arguments], catch_exceptions=False, **options)

    return invoke


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/events.db"


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes a JSONL file. Bytes are written unchanged; other values are encoded as JSON."""

    def write(lines: Sequence[Any], name: str = "events.jsonl") -> Path:
        path = tmp_path / name
        encoded = [each if isinstance(each, bytes) else msgspec.json.encode(each) for each in lines]
        path.write_bytes(b"".join(each + b"\n" for each in encoded))
        return path

    return write
