"""Runs the example of two services over each broker: `make demo-brokers` starts their servers for it."""

import sys
from contextlib import ExitStack
from functools import partial

from examples.shop_services.__main__ import main
from tests.servers import kafka, nats, rabbitmq, redis
from tests.servers.kafka import KafkaServer
from tests.servers.nats import NatsServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer


def run() -> int:
    """Run it in memory, and over those brokers that are installed; return the exit code."""
    with ExitStack() as servers:
        brokers = ["memory:demo"]
        # Each event has several consumers, as only streams of RabbitMQ can have.
        kinds = {nats: NatsServer, redis: RedisServer, kafka: KafkaServer}
        kinds[rabbitmq] = partial(RabbitmqServer, options="queues=stream")
        for module, start in kinds.items():
            if module.program() is None:
                print(f"{module.__name__.rpartition('.')[2]} is not installed: {module.INSTALL}", file=sys.stderr)
            else:
                brokers.append(servers.enter_context(start()).url)
        return main(brokers)


if __name__ == "__main__":
    sys.exit(run())
