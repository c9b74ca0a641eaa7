"""The guide to brokers: its commands print what it says."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fait._delivery.brokers.port import BrokerFeatures
from fait._tools.cli.commands import fait
from tests.servers.redis import RedisServer

GUIDE = Path(__file__).parents[2] / "docs" / "brokers.md"


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
