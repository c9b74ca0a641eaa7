"""The guide to brokers: its commands print what it says."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fait._delivery.brokers.port import BrokerFeatures
from fait._tools.cli.commands import fait
from tests.relay.published import Counted, NatsUnderTest, append, relay_app
from tests.servers.nats import NatsServer
from tests.servers.redis import RedisServer

GUIDE = Path(__file__).parents[2] / "docs" / "brokers.md"

NATS_PROGRAM = """
import asyncio, json, os, sys
import nats

async def main():
    client = await nats.connect(os.environ["NATS_URL"])
    match sys.argv[1:]:
        case ["stream", "subjects", stream, filter, "--names"]:
            request = {"subjects_filter": filter}
            answer = await client.request(f"$JS.API.STREAM.INFO.{stream}", json.dumps(request).encode())
            print(*json.loads(answer.data)["state"]["subjects"], sep="\\n")
        case ["stream", "purge", stream, "--force", "--keep", keep, "--subject", subject]:
            request = {"keep": int(keep), "filter": subject}
            answer = await client.request(f"$JS.API.STREAM.PURGE.{stream}", json.dumps(request).encode())
            assert json.loads(answer.data)["success"], answer.data
        case _:
            raise SystemExit(f"unexpected: {sys.argv}")
    await client.close()

asyncio.run(main())
"""
"""What the program `nats` does in the guide: it is written in Go, and not installed."""


def test_guide_explains_each_promise_that_the_command_prints() -> None:
    explained = re.findall(r"`(\w+)`", GUIDE.read_text("utf-8"))

    assert set(BrokerFeatures.__struct_fields__) <= set(explained)


def test_guide_command_prints_documented_output(
    redis_servers: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"```console\n(.*?)```", GUIDE.read_text("utf-8"), flags=re.DOTALL)
    exported, command, *documented = block.splitlines()
    name, _, url = exported.removeprefix("$ export ").partition("=")
    server = redis_servers()
    monkeypatch.setenv(name, url.replace("6379", str(server.port)))

    answer = CliRunner().invoke(fait, command.removeprefix("$ fait ").replace("'", "").split())

    printed = [" ".join(line.split()) for line in answer.stdout.splitlines()]
    assert answer.exit_code == 0
    assert printed[1 : len(documented) + 1] == [" ".join(line.split()) for line in documented]
    assert printed[len(documented) + 1] == "batch atomic"


async def test_relay_continues_after_its_messages_were_deleted_as_the_guide_says(
    nats_servers: Callable[..., NatsServer],
    store_url: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (script,) = re.findall(r"```sh\n(.*?)```", GUIDE.read_text("utf-8"), flags=re.DOTALL)
    (tmp_path / "nats").write_text(f"#!{sys.executable}{NATS_PROGRAM}")
    (tmp_path / "nats").chmod(0o755)
    server, url = nats_servers(), store_url("sqlite")
    broker, app = NatsUnderTest(server), relay_app(server.url)
    monkeypatch.setenv("NATS_URL", server.url)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    await broker.prepare()
    app.relay(Counted, to=server.url, topic="orders", name="relay-again", start="beginning")

    for start in (0, 20):
        async with app.open(url) as system:
            await append(system, 20, start=start)
            await system.wait(timeout_s=30)
            for _ in range(2):
                assert len(await broker.messages()) > 2
                await asyncio.to_thread(subprocess.run, ["sh", "-ec", script], check=True)
                assert len(await broker.messages()) == 2  # the last one of each relay
                await append(system, 5, start=start)
                await system.wait(timeout_s=30)
        await asyncio.to_thread(subprocess.run, ["sh", "-ec", script], check=True)
    async with app.open(url) as system:
        await append(system, 5, start=40)
        await system.wait(timeout_s=30)
        statuses = await system.status()

    assert [(each.error, each.lag) for each in statuses] == [(None, 0)] * 2
