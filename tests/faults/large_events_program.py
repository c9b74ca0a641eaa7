"""Reads a store of large events in one way, and prints their size and by how many bytes the peak memory grew."""

import asyncio
import sys
from pathlib import Path
from typing import Self

import fait


@fait.event("scanned")
class Scanned:
    data: str


class Book(fait.Aggregate, category="book"):
    size: int = 0

    def evolve(self, event: Scanned) -> None:
        self.size += len(event.data)


class Scans(fait.ReadModel, key="book"):
    book: str
    size: int

    @classmethod
    def evolve(cls, row: Self | None, event: Scanned, envelope: fait.Envelope) -> Self | None:
        return cls(book=envelope.stream_id, size=(row.size if row else 0) + len(event.data))


reading, running = fait.App("reading"), fait.App("running")
reading.include(Book)
running.include(Scans)


def peak() -> int:
    """The peak in bytes. `resource.getrusage` would include that of the parent process before exec."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10


async def main(url: str, use: str) -> None:
    size = 0
    async with (running if use == "read model" else reading).open(url) as s:
        before = peak()
        match use:
            case "events":
                async for each in s.events():
                    size += len(each.event.data)
            case "load":
                size = (await s.load(Book, "1")).size
            case "load many":
                size = sum(each.size for each in (await s.load_many(Book, ["0", "1", "2"])).values())
            case _:
                await s.wait(timeout_s=120)
                row = await s.get(Scans, "1")
                size = row.size if row else 0
    print(size, peak() - before)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
