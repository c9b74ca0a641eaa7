"""`fait broker check`, with a broker in memory and with real servers."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.servers.broker import BrokerServer

Run = Callable[..., Any]


@pytest.fixture
def url() -> str:
    return f"memory:{uuid4().hex}"


def test_missing_topic_is_a_problem_and_is_created_with_option(run: Run, url: str) -> None:
    missing = run("broker", "check", url, "--topic", "orders=4")
    created = run("broker", "check", url, "--topic", "orders=4", "--create")
    again = run("broker", "check", url, "--topic", "orders=4", "--topic", "mail=1")

    assert (missing.exit_code, created.exit_code, again.exit_code) == (1, 0, 1)
    assert "problem\ttopic orders" in missing.stdout
    assert "ok\ttopic orders\t4 lanes" in created.stdout
    assert "problem\ttopic mail" in again.stdout


def test_json_has_findings_and_what_the_broker_promises(run: Run, url: str) -> None:
    answer = json.loads(run("broker", "check", url, "--topic", "orders=4", "--create", "--json").stdout)

    assert answer["healthy"] is True
    assert [each["name"] for each in answer["checks"]] == ["topic orders"]
    assert answer["features"]["batch"] == "atomic"


@pytest.mark.parametrize("option", ["orders", "orders=", "orders=0", "=4", "orders=x"])
def test_malformed_topic_is_invalid_usage(run: Run, url: str, option: str) -> None:
    answer = run("broker", "check", url, "--topic", option)

    assert answer.exit_code == 2
    assert f"--topic {option}: write the name and the number of lanes" in answer.stderr


@pytest.mark.parametrize("name", ["Orders", "bad*", "-orders"])
def test_topic_to_which_no_relay_could_publish_is_not_created(run: Run, url: str, name: str) -> None:
    refused = run("broker", "check", url, "--topic", "orders=4", "--topic", f"{name}=4", "--create")
    checked = run("broker", "check", url, "--topic", "orders=4", "--topic", f"{name}=4")

    assert refused.exit_code == 2
    assert f"--topic {name}=4: a topic has 1 to 200 lower-case letters" in refused.stderr
    assert "problem\ttopic orders" in checked.stdout
    assert f"problem\ttopic {name}" in checked.stdout


def test_unreachable_broker_fails_without_its_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hidden-word")

    answer = run("broker", "check", "redis://:${SECRET}@127.0.0.1:1")

    assert answer.exit_code == 1
    assert "is not available" in answer.stderr
    assert "The check was not made" in answer.stderr
    assert "hidden-word" not in answer.output


@pytest.mark.parametrize("kind", ["kafka", "nats", "redis", "rabbitmq"])
def test_topic_of_a_server_is_created(run: Run, request: pytest.FixtureRequest, kind: str) -> None:
    server: BrokerServer = request.getfixturevalue(f"{kind}_server")

    answer = run("broker", "check", server.url, "--topic", "tool=2", "--create")

    assert answer.exit_code == 0, answer.output
    assert "ok\ttopic tool\t2 lanes" in answer.stdout
    assert "loses_acknowledged" in answer.stdout
