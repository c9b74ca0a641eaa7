"""The benchmark of brokers: a small run; times are not checked."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("kafka_server", "nats_server", "rabbitmq_server", "redis_server")  # skips if one is missing
def test_small_run_prints_rates_of_each_server_with_its_setting() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "brokers", "--n", "300", "--naive", "20", "--rounds", "1"],
        cwd=ROOT, env={"PYTHONPATH": f"{ROOT}/src:{ROOT}/bench", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    servers = ("Kafka", "NATS", "RabbitMQ", "Redis")
    headings = [line for line in ran.stdout.splitlines() if line.startswith(servers)]
    assert headings == [
        "NATS, sync_interval always",
        "NATS, sync_interval 2m (its default)",
        "Redis, appendfsync always",
        "Redis, appendfsync everysec (its default)",
        "RabbitMQ, quorum queues",
        "RabbitMQ, streams",
        "Kafka, flush.messages 1, linger.ms 0",
        "Kafka, flush.messages 1, linger.ms 0, transactions off",
    ]
    assert ran.stdout.count("messages/s") == 32
