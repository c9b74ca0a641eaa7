"""Catching up over 300 events of 1 MB needs little memory: measured in a process of its own."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fait._events.envelope import EncodedEvent
from fait._store.open import open_store
from fait.testing.contract.store import added, new, write

EVENTS = 300
MEGABYTE = 1_000_000
MAX_GROWTH_BYTES = 40 << 20

PROGRAM = Path(__file__).with_name("large_events_program.py")


def scanned() -> EncodedEvent:
    return new("scanned", data=f'{{"data":"{"x" * MEGABYTE}"}}')


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_reading_large_events_needs_little_memory(store_url: Callable[[str], str], backend: str) -> None:
    url = store_url(backend)
    store = await open_store(url)
    for _ in range(EVENTS // 10):
        await added(store.log, write("book-1", [scanned() for _ in range(10)]))
    await store.close()

    for use in ("events", "load", "load many", "read model"):
        child = await asyncio.to_thread(
            subprocess.run, [sys.executable, PROGRAM, url, use], capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, child.stderr
        size, growth = map(int, child.stdout.split())
        assert size == EVENTS * MEGABYTE
        assert growth < MAX_GROWTH_BYTES, f"{use}: {growth:,} bytes"
