"""One round: starts servers and processes, disturbs them at random, waits until all is handled, and compares."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

import fait
from fait._delivery.wire.received import received_message
from fait._store.ports.failures import FailureRequest, KeyFailure
from fait.broker import Broker, ConsumedBatch, ConsumedMessage, ConsumerSpec
from tests.brokers.proxy import Proxy
from tests.delivery.apps import CREATE_EFFECTS, LANES, RELAY, TOPIC, Placed, Reserved, orders, stock
from tests.delivery.checker import Delivered, Results, Stored, by_key, history, violations
from tests.delivery.naive import CREATE_MARKS, LEFT_OF
from tests.delivery.producers import SIZE, Producers
from tests.delivery.report import Plan, Report
from tests.delivery.servers import BROKERS, MAX_FROZEN_S, WITHOUT_PROXY, Databases, DisturbedBroker, open_databases
from tests.delivery.services import Service
from tests.relay.published import ServerUnderTest, opened

CATCH_UP_S = 120.0
"""How long a relay or a consumer may need for what is left after the last disturbance."""

READ_S = 30.0
"""How long the messages of a topic may need to be read."""

POLL_S = 0.05
LEFT_PARKED_RATIO = 0.3
"""Share of the parked keys that are not redriven at the end."""

CALM_S = 1.0
"""Time before the first disturbance: RabbitMQ can lose a queue that was declared just before it is killed."""

Disturbance = Callable[[Random], Awaitable[None]]


async def run_round(plan: Plan, logs: Path | None = None) -> Report:
    """Run one round on new servers.

    Args:
        plan: the round.
        logs: directory for the logs of the processes; None: they are deleted.
    """
    with TemporaryDirectory(prefix="fait-delivery-") as directory:
        logs = logs or Path(directory)
        tested = await asyncio.to_thread(BROKERS[plan.broker])
        with tested.server, open_databases(plan.databases) as databases:
            await tested.prepare(LANES)
            return await Round(plan, tested, databases, logs).run()


class Round:
    """The services of a round, and what is done to them."""

    def __init__(self, plan: Plan, tested: ServerUnderTest, databases: Databases, logs: Path) -> None:
        self._report = Report(plan)
        self._plan = plan
        self._tested = tested
        self._databases = databases
        self._logs = logs
        self._large_bytes = SIZE if plan.naive else tested.limited_bytes  # naive relays park nothing
        self._chance = Random(plan.seed)
        self._services: dict[str, list[Service]] = {}

    async def run(self) -> Report:
        log_id = await self._create()
        try:
            async with self._broker() as broker:
                self._start(broker.url, log_id)
                failures, producers = await self._work(broker)
                await self._close()
        finally:
            await self._close()
        await self._check(failures, producers.acknowledged)
        return self._report

    async def _create(self) -> str:
        """Create both databases; return the id of the log of the orders."""
        databases = self._databases
        async with orders.open(databases.orders.url, run="elsewhere") as system:
            log_id = system.store.log.identity.log_id
        async with stock.open(databases.stock.url, run="elsewhere"):
            pass
        await databases.stock.fetch(CREATE_EFFECTS.format(identity=databases.stock.identity))
        if self._plan.naive:
            await databases.orders.fetch(CREATE_MARKS)
        return log_id

    @asynccontextmanager
    async def _broker(self) -> AsyncGenerator[DisturbedBroker, None]:
        tested, max_frozen_s = self._tested, min(MAX_FROZEN_S, self._plan.seconds / 8)
        if self._plan.broker in WITHOUT_PROXY:
            yield DisturbedBroker(tested, None, max_frozen_s)
            return
        async with Proxy(tested.server.port, records=False) as proxy:
            yield DisturbedBroker(tested, proxy, max_frozen_s)

    def _start(self, broker: str, log_id: str) -> None:
        """Start two processes of each service."""
        databases, naive = self._databases, self._plan.naive
        run = ["tests.delivery.process", "run", "--app"]
        commands = {
            "relay": [*run, "tests.delivery.apps:orders", "--store", databases.orders.url],
            "consumer": [*run, "tests.delivery.apps:stock", "--store", databases.stock.url],
        }
        if naive:
            commands = {"relay": ["tests.delivery.naive", naive, databases.orders.url, broker]}
        variables = {"DELIVERY_BROKER": broker, "DELIVERY_LOG": log_id}
        for name, command in commands.items():
            names = [f"{name}-{n}" for n in (1, 2)]
            self._services[name] = [Service(each, command, variables, self._logs, self._report.exits) for each in names]
            for service in self._services[name]:
                service.start()

    async def _work(self, broker: DisturbedBroker) -> tuple[list[KeyFailure], Producers]:
        """Place orders under disturbances until all is handled; return the keys that are left parked."""
        databases = self._databases
        async with (
            orders.open(databases.orders.url, run="elsewhere") as shop,
            stock.open(databases.stock.url, run="elsewhere") as inventory,
        ):
            producers = Producers(shop, self._chance, self._large_bytes)
            await producers.place("0", [SIZE])
            await self._until(self._has_started, "the processes have not started")
            async with self._tested.limited(), producers.held_transactions(databases.orders.url):
                disturbing = asyncio.create_task(self._disturb(self._disturbances(broker, shop), broker))
                try:
                    await producers.run(self._plan.seconds)
                finally:
                    disturbing.cancel()
                    await asyncio.wait([disturbing])
            started = time.monotonic()
            if not self._plan.naive:
                self._report.published_early = await _published_ratio(shop)
            failures = await self._catch_up(shop, inventory, producers)
            self._report.catch_up_s = time.monotonic() - started
        return failures, producers

    # Disturbances

    def _disturbances(self, broker: DisturbedBroker, shop: fait.System) -> dict[str, list[dict[str, Disturbance]]]:
        """Return what can happen, by target and name; one thing at a time happens to a target."""

        async def redrive(chance: Random) -> None:
            await _redrive(shop, await _parked(shop), chance, 0.5)

        found = {
            name: [
                {"kill": each.kill, "kill at step": each.kill_at_step, "pause": each.pause, "terminate": each.terminate}
                for each in services
            ]
            for name, services in self._services.items()
        }
        found["broker"] = [{"crash": broker.crash, "freeze": broker.freeze}]
        if self._plan.broker not in WITHOUT_PROXY:
            found["connections"] = [{"cut": broker.cut, "lose answers": broker.lose_answers}]
        found["parked keys"] = [{"redrive": redrive}]
        if self._databases.server is not None:
            found["database"] = [{"restart": self._databases.restart}]
        # Outages of connections show what a naive relay does wrong; what lasts longer only keeps it from working.
        return {"connections": found["connections"]} if self._plan.naive else found

    async def _disturb(self, disturbances: dict[str, list[dict[str, Disturbance]]], broker: DisturbedBroker) -> None:
        """Disturb at random until canceled, then wait until the last disturbances have ended."""
        targets = [(kind, n) for kind, each in disturbances.items() for n in range(len(each))]
        chance, begun_at, tasks = Random(self._plan.seed), time.monotonic(), dict[tuple[str, int], asyncio.Task[None]]()
        interval_s = min(1.0, self._plan.seconds / 15)
        try:
            await asyncio.sleep(CALM_S)
            while True:
                await asyncio.sleep(interval_s * chance.uniform(0.5, 1.5))
                kind, number = chance.choice(targets)
                name, disturbance = chance.choice(list(disturbances[kind][number].items()))
                is_busy = (kind, number) in tasks and not tasks[kind, number].done()
                is_calm = kind == "broker" and time.monotonic() < broker.calm_until
                if is_busy or is_calm or not self._can_disturb(kind, number):
                    continue
                self._report.disturbances[f"{kind}: {name}"] += 1
                self._report.timeline.append(f"  {time.monotonic() - begun_at:5.1f} s  {kind} {number}: {name}")
                tasks[kind, number] = asyncio.create_task(disturbance(self._chance))
        finally:
            for failed in await asyncio.gather(*tasks.values(), return_exceptions=True):
                if failed is not None:
                    self._report.note(f"a disturbance failed: {failed!r}")

    def _can_disturb(self, kind: str, number: int) -> bool:
        """Whether the service to disturb works; for other targets, whether a process of each service does."""
        if self._plan.naive:
            return True
        return self._services[kind][number].is_ready if kind in self._services else self._are_ready()

    def _are_ready(self) -> bool:
        return all(any(each.is_ready for each in group) for group in self._services.values())

    # The end

    async def _catch_up(self, shop: fait.System, inventory: fait.System, producers: Producers) -> list[KeyFailure]:
        """Wait until the relay has published all, redrive most of the parked keys, and wait again."""
        if self._plan.naive:
            await self._until(self._naive_has_published, "the naive relay has not published all")
            return []
        await self._until(lambda: _has_published(shop), "the relay has not published all")
        before = await _parked(shop)
        await _redrive(shop, before, self._chance, 1 - LEFT_PARKED_RATIO)
        await asyncio.gather(*(producers.place(each.key.partition("-")[2], [SIZE]) for each in before))
        await self._until(lambda: _has_published(shop), "the relay has not published the redriven keys")
        failures = await _parked(shop)
        count = _count_published(await _events(shop), {each.key: each.next_position for each in failures})
        await self._until(lambda: _has_handled(inventory, count), "the consumer has not handled all")
        return failures

    async def _has_started(self) -> bool:
        return await self._naive_has_published() if self._plan.naive else self._are_ready()

    async def _naive_has_published(self) -> bool:
        [[left]] = await self._databases.orders.fetch(LEFT_OF[self._plan.naive])
        return left == 0

    async def _until(self, condition: Callable[[], Awaitable[bool]], problem: str) -> None:
        end = time.monotonic() + CATCH_UP_S
        while not await condition():
            if time.monotonic() > end:
                self._report.note(f"{problem} within {CATCH_UP_S:g} s")
                return
            await asyncio.sleep(POLL_S)

    async def _close(self) -> None:
        services = [each for group in self._services.values() for each in group]
        await asyncio.gather(*(each.close() for each in services))

    async def _check(self, failures: Sequence[KeyFailure], acknowledged: dict[str, int]) -> None:
        report, databases = self._report, self._databases
        async with orders.open(databases.orders.url, run="elsewhere") as shop:
            events = await _events(shop)
        async with stock.open(databases.stock.url, run="elsewhere") as inventory:
            reservations = [each async for each in inventory.events() if isinstance(each.event, Reserved)]
        effects = [(key, number) for key, number in await databases.stock.fetch(_EFFECTS)]
        reserved = [(each.stream.partition("-")[2], each.event.number) for each in reservations]
        if not self._tested.ordered:  # only what took effect is compared, and how often
            effects, reserved = sorted(effects), sorted(reserved)
        parked = {each.key: each.next_position for each in failures}
        messages, repeats = await self._messages(_count_published(events, parked))
        results = Results(
            events=[Stored(each.stream, each.event.number, each.version, each.position) for each in events],
            acknowledged=acknowledged,
            parked=parked,
            refused=frozenset(each.stream for each in events if len(each.event.text) > SIZE),
            messages=messages,
            repeats=repeats or bool(self._plan.naive),
            effects=effects,
            reservations=reserved,
        )
        self._report_results(results)
        for line in [line for group in self._services.values() for each in group for line in each.serious_lines()]:
            report.note(f"log: {line}")

    def _report_results(self, results: Results) -> None:
        report, messages = self._report, results.messages
        report.events, report.left_parked, report.refused = (
            len(results.events),
            len(results.parked),
            len(results.refused),
        )
        if messages is not None:
            report.messages = len(messages)
            report.repeated = len(messages) - len({(each.key, each.number) for each in messages})
        wrong = violations(results)
        report.violations |= wrong
        report.history = [line for key in list(wrong)[:1] for line in history(key, by_key(results)[key])]

    async def _messages(self, count: int) -> tuple[list[Delivered] | None, bool]:
        """Return the messages of the topic, and whether the broker may store a message several times.

        Args:
            count: number of messages that must be there.
        """
        async with opened(self._tested.url) as broker:
            features = broker.features
            messages = await _read_topic(broker, count) if features.seekable else None
        return messages, not (features.stores_position or features.deduplicates)


_EFFECTS = "SELECT key, number FROM effects ORDER BY id"


async def _events(shop: fait.System) -> list[Any]:
    return [each async for each in shop.events() if isinstance(each.event, Placed)]


def _count_published(events: Sequence[Any], parked: Mapping[str, int]) -> int:
    """Return the number of events that are not those of a parked key."""
    return sum(each.position < parked.get(each.stream, each.position + 1) for each in events)


async def _read_topic(broker: Broker, count: int) -> list[Delivered]:
    """Return all messages of the topic, in order for each lane, of which there must be so many."""
    spec = ConsumerSpec(name="checker", lanes=await broker.lanes(TOPIC), start="beginning")
    consumer, found, end = await broker.consumer(spec, {}), list[Delivered](), time.monotonic() + READ_S
    while isinstance(batch := await consumer.receive(1), ConsumedBatch) or (
        len(found) < count and end > time.monotonic()
    ):
        if isinstance(batch, ConsumedBatch):
            found += map(_delivered, batch.messages)
    return found


async def _parked(shop: fait.System) -> list[KeyFailure]:
    return [each for each in await shop.store.failures.failures(RELAY) if each.state == "parked"]


async def _redrive(shop: fait.System, parked: Sequence[KeyFailure], chance: Random, ratio: float) -> None:
    """Request a redrive of some of the parked keys."""
    if keys := tuple(each.key for each in parked if chance.random() < ratio):
        await shop.store.failures.request(FailureRequest(RELAY, keys, "redriving", by="test"))


async def _published_ratio(shop: fait.System) -> float:
    [status] = await shop.status()
    return round(status.position / (status.position + status.lag), 2)


async def _has_published(shop: fait.System) -> bool:
    """Whether the relay has passed the log, and all of its failures wait for an operator."""
    try:
        [status] = await shop.status()
        failures = await shop.store.failures.failures(RELAY)
    except fait.StoreUnavailable:
        return False
    return status.lag == 0 and all(each.state == "parked" for each in failures)


async def _has_handled(inventory: fait.System, count: int) -> bool:
    try:
        streams = await inventory.store.log.streams(category="stock")
    except fait.StoreUnavailable:
        return False
    return sum(each.version for each in streams) >= count


def _delivered(message: ConsumedMessage) -> Delivered:
    received = received_message(message)
    provenance = received.provenance
    assert provenance is not None, message
    number = msgspec.json.decode(received.data or b"null")["number"]
    return Delivered(provenance.key, number, provenance.position, message.offset)
