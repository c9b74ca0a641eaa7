"""The code and the commands of the guide to relays run, and its headers are those of messages."""

import asyncio
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fait
from fait._tools.cli.commands import fait as command_line
from tests.relay.published import MemoryUnderTest, until, until_published

GUIDE = (Path(__file__).parents[2] / "docs" / "relay.md").read_text("utf-8")


def blocks(language: str) -> str:
    return "".join(re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))


async def test_relay_of_the_guide_publishes_and_its_parked_key_is_redriven_by_the_commands(
    store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, broker = store_url("sqlite"), MemoryUnderTest("memory:guide")
    monkeypatch.setenv("ORDERS_BROKER", broker.url)
    monkeypatch.setenv("FAIT_STORE", url)
    await broker.prepare()
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(blocks("python"), "guide", "exec"), names)
    shop: fait.App = names["shop"]

    async with shop.open(url) as system:
        async with broker.limited():
            await system.publish(names["OrderPlaced"]("x" * broker.limited_bytes, 1), stream="order-1")
            await system.publish(names["OrderPlaced"]("ada", 2), stream="order-2")
            await until(system.store.failures.failures)
        for command in re.findall(r"^\$ fait parked .*", blocks("console"), re.MULTILINE):
            words = shlex.split(command.removeprefix("$ fait "))
            answer = await asyncio.to_thread(CliRunner().invoke, command_line, words)
            assert answer.exit_code == 0, answer.output
            assert "relay-orders" in answer.output
        await until_published(system, broker)
        [message, *_] = await broker.messages()

    named = re.findall(r"`(ce-[a-z]+)`", GUIDE)
    assert len(named) == 4
    assert set(named) <= message.headers.keys()
