"""What a consumer logs of the logs that it does not trust: events of these are recognized by their ids only."""

from collections.abc import Callable, Sequence
from uuid import uuid4

import pytest
from msgspec.structs import replace

import fait
from fait._delivery.inbox import source
from tests.inbox.topics import SOURCE, Placed, Topic, idle, new_topic, placed


def app_of(topic: Topic, trusts: Sequence[str]) -> fait.App:
    app = fait.App("stock")

    @app.consume(topic.name, from_=topic.url, as_=Placed, trusts=trusts, name="consumer")
    async def handle(event: Placed) -> None: ...

    return app


async def test_log_that_is_not_trusted_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        for log_id in ("log-1", "log-2", "log-2", *(f"other-{number}" for number in range(20))):
            await topic.publish(placed(1, "a"), source=replace(SOURCE, log_id=log_id))
        async with app_of(topic, ["log-1"]).open("memory:") as s:
            await idle(s, 23)

    lines = reports(caplog)
    assert len(lines) == source.MAX_REPORTED_LOGS
    assert lines[0] == (
        "log is not trusted: subscription=consumer log='log-2'; its events are recognized by their ids, which are kept "
        "for a limited time. If the log is yours, add its id to trusts="
    )


async def test_log_that_is_not_trusted_is_reported_once_although_an_outage_repeats_its_messages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, attempts = fait.App("stock"), list[int]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:

        @app.consume(topic.name, from_=topic.url, as_=Placed, name="consumer", trusts=["log-1"])
        async def handle(event: Placed) -> None:
            attempts.append(event.number)
            if len(attempts) == 1:
                raise fait.Unavailable("not yet", retry_after_s=0)

        await topic.publish(placed(1, "a"), source=replace(SOURCE, log_id="log-2"))
        async with app.open("memory:") as s:
            await idle(s, 1)

    assert attempts == [1, 1]
    assert len(reports(caplog)) == 1


async def test_log_that_is_not_trusted_any_more_is_reported(
    store_url: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    url = store_url("sqlite")
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"))
        async with app_of(topic, ["log-1"]).open(url) as s:
            await idle(s, 1)
        await topic.publish(placed(2, "a"))
        async with app_of(topic, []).open(url) as s:
            await idle(s, 2)

    [line] = reports(caplog)
    assert line.startswith(
        "log is not trusted any more, and what was handled of it is forgotten: subscription=consumer"
    )


async def test_consumer_that_trusts_no_log_reports_none(caplog: pytest.LogCaptureFixture) -> None:
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        await topic.publish(placed(1, "a"))
        async with app_of(topic, []).open("memory:") as s:
            await idle(s, 1)

    assert reports(caplog) == []


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "not trusted" in each.getMessage()]
