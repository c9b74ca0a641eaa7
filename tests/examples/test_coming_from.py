"""The exports of BullMQ and Celery, from queues that the real libraries have filled."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
import redis
from bullmq import FlowProducer, Job, Queue, Worker
from celery import Celery, chain, group

from examples.coming_from import export_bullmq, export_celery
from fait._tools.cli.lines import parse_line
from tests.servers.redis import RedisServer

DATABASE = 11
SECRET = "4711-secret"  # in the data of jobs, and in no error


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    return f"{redis_server.url}/{DATABASE}"


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as opened:
        opened.flushdb()
        yield opened


def content(client: redis.Redis) -> dict[bytes, bytes | None]:
    return {key: client.dump(key) for key in client.scan_iter()}


def exported(export: Callable[..., list[bytes]], client: redis.Redis, *arguments: Any, **options: Any) -> list[Any]:
    """Export twice, check that nothing was changed, and that each line can be imported under its id."""
    before = content(client)
    lines = export(client, *arguments, **options)
    assert export(client, *arguments, **options) == lines
    assert content(client) == before
    decoded = [json.loads(line) for line in lines]
    assert [parse_line(1, line, None).event.id for line in lines] == [each["id"] for each in decoded]
    return decoded


def orders(lines: Sequence[Any]) -> list[str]:
    return [each["data"]["order"] for each in lines]


# BullMQ


@asynccontextmanager
async def bullmq_queue(url: str) -> AsyncGenerator[Queue]:
    queue = Queue("invoices", {"connection": url})
    try:
        yield queue
    finally:
        await queue.close()


async def add(queue: Queue, order: str, **options: Any) -> None:
    await queue.add("send-invoice", {"order": order}, options)


async def run_worker(url: str, process: Callable[[Job, str], Any], event: str, count: int = 1) -> None:
    """Run a worker until it has emitted a number of events."""
    done, emitted = asyncio.Event(), list[Any]()

    def emit(*arguments: Any) -> None:
        emitted.append(arguments)
        if len(emitted) == count:
            done.set()

    worker = Worker("invoices", process, {"connection": url})
    worker.on(event, emit)
    async with asyncio.timeout(20):
        await done.wait()
    await worker.close(force=True)


async def fail(job: Job, token: str) -> None:
    raise ValueError(SECRET)


async def complete(job: Job, token: str) -> None:
    pass


@pytest.mark.parametrize("paused", [False, True])
async def test_jobs_of_bullmq_are_exported_in_the_order_in_which_they_would_run(
    url: str, client: redis.Redis, paused: bool
) -> None:
    async with bullmq_queue(url) as queue:
        await add(queue, "3", priority=7)
        await add(queue, "1", attempts=3, backoff={"type": "exponential", "delay": 1000}, removeOnFail=10)
        await add(queue, "2", deduplication={"id": "two"})
        await add(queue, "0", lifo=True, jobId="of-the-program")
        await add(queue, "4", priority=9)
        if paused:
            await queue.pause()

        lines = exported(export_bullmq.export, client, "invoices")
        taken = list[str]()

        async def take(job: Job, token: str) -> None:
            taken.append(job.data["order"])

        if paused:
            await queue.resume()
        await run_worker(url, take, "completed", count=5)

    assert orders(lines) == taken == ["0", "1", "2", "3", "4"]
    assert lines[0]["stream"] == "order-0"
    assert len({each["id"] for each in lines}) == 5


async def test_failed_and_delayed_jobs_of_bullmq_are_exported_when_they_are_named(
    url: str, client: redis.Redis
) -> None:
    async with bullmq_queue(url) as queue:
        await add(queue, "1", attempts=2)
        await run_worker(url, fail, "failed", count=2)
        await add(queue, "2", delay=3_600_000)
        await add(queue, "3")
        await add(queue, "4", priority=2)
        await queue.pause()

        assert orders(exported(export_bullmq.export, client, "invoices")) == ["3", "4"]
        failed, delayed = exported(export_bullmq.export, client, "invoices", ["failed", "delayed"])
        remaining = list(export_bullmq.remaining(client, "invoices", export_bullmq.PENDING))
        job = await Job.fromId(queue, "2")

        await queue.drain()  # as the guide says, of a paused queue
        assert exported(export_bullmq.export, client, "invoices") == []
        assert len(exported(export_bullmq.export, client, "invoices", ["failed", "delayed"])) == 2

    assert orders([failed, delayed]) == ["1", "2"]
    assert job is not None
    assert datetime.fromisoformat(delayed["due"]) == export_bullmq.moment(job.timestamp + 3_600_000)
    assert remaining == ["not exported: 1 failed\n", "not exported: 1 delayed\n"]


async def test_active_job_of_bullmq_ends_the_export(url: str, client: redis.Redis) -> None:
    def look(job: Job, token: str) -> None:
        with pytest.raises(export_bullmq.NotExported, match="1 jobs are active: let the workers finish"):
            export_bullmq.export(client, "invoices")

    async def process(job: Job, token: str) -> None:
        look(job, token)

    async with bullmq_queue(url) as queue:
        await add(queue, "1")
        await run_worker(url, process, "completed")


async def add_other_name(queue: Queue) -> None:
    await queue.add("other", {"order": SECRET})


async def add_without_stream(queue: Queue) -> None:
    await queue.add("send-invoice", {"orders": [SECRET]})


async def add_number(queue: Queue) -> None:
    await queue.add("send-invoice", {"order": 4711})


async def add_list(queue: Queue) -> None:
    await queue.add("send-invoice", [SECRET])


async def add_scheduler(queue: Queue) -> None:
    await queue.upsertJobScheduler("daily", {"every": 3_600_000}, "send-invoice", {"order": SECRET})


async def add_unknown_option(queue: Queue) -> None:
    await queue.add("send-invoice", {"order": SECRET}, {"invented": SECRET})


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (add_other_name, "job 1: its name 'other' is not in JOBS"),
        (add_without_stream, "job 1: its data is not that of the event: Object contains unknown field `orders`"),
        (add_number, r"job 1: its data is not that of the event: Expected `str`, got `int` - at `\$.order`"),
        (add_list, "job 1: Expected `object`, got `array`"),
        (add_scheduler, r"job repeat:daily:\d+: the scheduler 'daily' has added it, and fait has none: see its guide"),
        (add_unknown_option, "job 1: Object contains unknown field `invented`"),
    ],
)
async def test_job_of_bullmq_that_is_no_event_ends_the_export_without_its_data(
    url: str, client: redis.Redis, fill: Callable[[Queue], Any], reason: str
) -> None:
    async with bullmq_queue(url) as queue:
        await fill(queue)

        with pytest.raises(export_bullmq.NotExported, match=reason) as caught:
            export_bullmq.export(client, "invoices", [*export_bullmq.PENDING, "delayed"])

    assert SECRET not in str(caught.value)


async def test_job_of_a_removed_scheduler_of_bullmq_does_not_end_the_export(url: str, client: redis.Redis) -> None:
    async with bullmq_queue(url) as queue:
        await add_scheduler(queue)
        assert await queue.removeJobScheduler("daily") == 0  # as the guide says
        await run_worker(url, complete, "completed")  # the first job was waiting
        await add(queue, "1")
        await add(queue, "2", delay=3_600_000)

        assert orders(exported(export_bullmq.export, client, "invoices", ["wait", "delayed"])) == ["1", "2"]


async def test_flow_of_bullmq_ends_the_export(url: str, client: redis.Redis) -> None:
    producer = FlowProducer({"connection": url})
    child = {"name": "send-invoice", "queueName": "invoices", "data": {"order": SECRET}}
    await producer.add({"name": "parent", "queueName": "parents", "data": {}, "children": [child]})
    await producer.close()

    with pytest.raises(export_bullmq.NotExported, match="1 jobs are waiting-children"):
        export_bullmq.export(client, "parents")
    with pytest.raises(export_bullmq.NotExported, match="unknown field `parent") as caught:
        export_bullmq.export(client, "invoices")
    assert SECRET not in str(caught.value)


# Celery


@pytest.fixture
def task(url: str, client: redis.Redis) -> Iterator[Any]:
    with Celery("shop", broker=url, set_as_current=False) as app:

        @app.task(name="send_invoice")
        def send_invoice(order: str) -> None: ...

        yield send_invoice


def celery_lines(client: redis.Redis, **options: Any) -> list[Any]:
    return exported(export_celery.export, client, "celery", "2026-11-30T12:00:00Z", **options)


def test_tasks_of_celery_are_exported_in_the_order_in_which_they_would_run(task: Any, client: redis.Redis) -> None:
    task.apply_async(["4"], priority=6)
    task.delay("1")
    second = task.delay(order="2")
    task.apply_async(["3"], priority=3)

    lines = celery_lines(client)
    with task.app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        taken = [queue.get(timeout=5).payload for _ in lines]
        queue.close()

    assert orders(lines) == ["1", "2", "3", "4"]
    assert [args[0] if args else kwargs["order"] for args, kwargs, _ in taken] == orders(lines)
    assert (lines[1]["id"], lines[1]["time"]) == (second.id, "2026-11-30T12:00:00Z")


def test_tasks_of_celery_with_an_eta_are_exported_on_request(task: Any, client: redis.Redis) -> None:
    task.delay("1")
    task.apply_async(["2"], countdown=3600)

    assert orders(celery_lines(client)) == ["1"]
    [later] = celery_lines(client, eta=True)
    assert later["data"] == {"order": "2"}
    assert later["due"]


def test_tasks_of_celery_that_a_worker_has_reserved_end_the_export(task: Any, client: redis.Redis) -> None:
    task.delay("1")
    with task.app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        queue.get(timeout=5)
        with pytest.raises(export_celery.NotExported, match="1 tasks are reserved by workers"):
            export_celery.export(client, "celery", "2026-11-30T12:00:00Z")
        queue.close()

    assert orders(celery_lines(client)) == ["1"]


CELERY_REASONS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda task: task.apply_async([SECRET], serializer="pickle"), "its body is application/x-python-serialize; only"),
    (lambda task: task.apply_async([SECRET], expires=60), r"Expected `null`, got `str` - at `\$.headers.expires`"),
    (lambda task: task.apply_async([SECRET], link=task.si("1")), r"Expected `null`, got `array` - at `.*callbacks`"),
    (lambda task: chain(task.si(SECRET), task.si("2"))(), r"Expected `null`, got `array` - at `.*chain`"),
    (lambda task: group(task.si(SECRET), task.si("2"))(), r"Expected `null`, got `str` - at `\$.headers.group`"),
    (lambda task: task.apply_async([SECRET], headers={"invented": SECRET}), "unknown field `invented`"),
    (lambda task: task.app.send_task("other", [SECRET]), "its name 'other' is not in TASKS"),
    (lambda task: task.app.send_task("send_invoice", [SECRET, SECRET]), "its arguments are not those in TASKS"),
    (lambda task: task.app.send_task("send_invoice", [SECRET], {"order": SECRET}), "its arguments are not those"),
    (lambda task: task.app.send_task("send_invoice", [], {"other": SECRET}), "unknown field `other`"),
    (lambda task: task.app.send_task("send_invoice", []), "those of the event: Object missing required field `order`"),
    (lambda task: task.app.send_task("send_invoice", [[SECRET]]), r"Expected `str`, got `array` - at `\$.order`"),
    (lambda task: task.app.send_task("send_invoice", [4711]), r"Expected `str`, got `int` - at `\$.order`"),
]


@pytest.mark.parametrize(("send", "reason"), CELERY_REASONS)
def test_task_of_celery_that_is_no_event_ends_the_export_without_its_arguments(
    task: Any, client: redis.Redis, send: Callable[[Any], Any], reason: str
) -> None:
    send(task)

    with pytest.raises(export_celery.NotExported, match=reason) as caught:
        export_celery.export(client, "celery", "2026-11-30T12:00:00Z")

    assert str(caught.value).startswith("message 1")
    assert SECRET not in str(caught.value)


def test_message_that_is_not_of_celery_ends_the_export(client: redis.Redis) -> None:
    client.lpush("celery", b'{"body": "' + SECRET.encode())

    with pytest.raises(export_celery.NotExported, match="message 1: Input data was truncated") as caught:
        export_celery.export(client, "celery", "2026-11-30T12:00:00Z")

    assert SECRET not in str(caught.value)
