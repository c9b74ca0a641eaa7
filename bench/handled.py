"""Measures the time from a commit to a handler in another process, over each broker.

`make bench-handled` takes about a minute; options are passed as in `make bench-handled ARGS="--rate 500 --seconds 20"`.

This process appends events at a fixed rate and has the relay. A second one has the consumer, with a database of its
own. The time of an event is that from the moment at which its command has committed until its handler is called; both
processes read the same monotonic clock. Both databases are files of SQLite with `synchronous=FULL`. The events of the
first seconds are not measured.

    -m handled --child STORE BROKER LOG_ID COUNT      the consumer; prints the time of each call as JSON
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from machine import machine
from relay import KEYS, LANES, TEXT, TOPIC, servers

import fait
from fait.broker import Topology, open_broker
from tests.servers.broker import BrokerServer

__all__ = ["main"]

RELAY = "relay"
WARM_UP_S = 5
"""Seconds of events that are not measured: a new server of Kafka is slow at first."""

MAX_LINE_BYTES = 1 << 24
"""Maximum size of the line with the times of all calls: 28 bytes for each."""


@fait.event("bench.numbered")
class Numbered:
    number: int
    text: str


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1_000, help="events per second (default: 1,000)")
    parser.add_argument("--seconds", type=float, default=10, help="seconds of that (default: 10)")
    parser.add_argument("--only", default="", help="measure only brokers whose name begins with this, such as NATS")
    options = parser.parse_args(arguments)
    print(", ".join(f"{name}: {value}" for name, value in machine(Path(tempfile.gettempdir())).items()))
    print(f"events of {len(TEXT)} bytes, {KEYS:,} keys, {LANES} lanes, {options.rate:,} events/s\n")
    for name, start in servers(options.only).items():
        with start() as server, tempfile.TemporaryDirectory() as directory:
            times = asyncio.run(measured(server, Path(directory), options.rate, options.seconds))
        shown = ", ".join(f"p{share * 100:g} {1_000 * times[int(len(times) * share)]:.1f} ms" for share in (0.5, 0.99))
        print(f"{name}: commit to handler in another process: {shown}")
    return 0


async def measured(server: BrokerServer, directory: Path, rate: int, seconds: float) -> list[float]:
    """Return the time of each event after the first ones, in seconds, sorted."""
    first = int(rate * WARM_UP_S)
    count = first + int(rate * seconds)
    url: str = server.url  # type: ignore[attr-defined]
    broker = await open_broker(url)
    await broker.check(Topology({TOPIC: LANES}), create=True)
    await broker.close()
    publishing = fait.App("publishing")
    publishing.include(Numbered)
    publishing.relay(Numbered, to=url, topic=TOPIC, name=RELAY)
    async with publishing.open(f"sqlite:///{directory}/publishing.db") as system:
        command = ["-m", "handled", "--child", f"sqlite:///{directory}/consuming.db", url]
        command += [system.store.log.identity.log_id, str(count)]
        consumer = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE_BYTES
        )
        assert consumer.stdout is not None
        await consumer.stdout.readline()
        committed = await append(system, rate, count)
        called = json.loads(await asyncio.wait_for(consumer.stdout.readline(), 120))
        await consumer.wait()
    return sorted(called[str(number)] - at for number, at in committed.items() if number >= first)


async def append(system: fait.System, rate: int, count: int) -> dict[int, float]:
    """Append events at a fixed rate; return the time of each commit."""
    committed, started, commands = dict[int, float](), time.monotonic(), set[asyncio.Task[None]]()

    async def place(number: int) -> None:
        await system.publish(Numbered(number, TEXT), stream=f"order-{number % KEYS}")
        committed[number] = time.monotonic()

    for number in range(count):
        await asyncio.sleep(started + number / rate - time.monotonic())
        commands.add(asyncio.create_task(place(number)))
    await asyncio.gather(*commands)
    return committed


async def consume(store: str, broker: str, log_id: str, count: int) -> None:
    called, finished = dict[int, float](), asyncio.Event()
    consuming = fait.App("consuming")

    @consuming.consume(TOPIC, from_=broker, as_=Numbered, trusts=[log_id], name="consumer", batch=100, concurrency=16)
    async def note(event: Numbered) -> None:
        called.setdefault(event.number, time.monotonic())
        if len(called) == count:
            finished.set()

    async with consuming.open(store) as system:
        while [each.state for each in await system.status()] != ["live"]:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.05)
        print("ready", flush=True)
        await finished.wait()
        print(json.dumps(called), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        asyncio.run(consume(*sys.argv[2:5], int(sys.argv[5])))
    else:
        sys.exit(main())
