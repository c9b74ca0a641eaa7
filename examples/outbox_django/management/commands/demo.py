"""The demo: sells in this process while a second process runs the handlers."""

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

from django.core.management import BaseCommand, CommandError, call_command
from django.db import transaction

from examples.outbox_django.events import shop
from examples.outbox_django.models import Mail, Order, Stock
from examples.outbox_django.services import cancel, place

TIMEOUT_S = 30.0
"""Timeout for the handlers to process all events."""


class Command(BaseCommand):
    help = "Run the shop on the empty database in FAIT_STORE."

    def handle(self, *_: Any, **__: Any) -> None:
        url = os.environ["FAIT_STORE"]
        asyncio.run(create_log(url))
        call_command("migrate", run_syncdb=True, verbosity=0)
        Stock.objects.create(sku="sencha", on_hand=100)
        with subprocess.Popen([sys.executable, "-m", "examples.outbox_django.worker", url]) as worker:  # noqa: S603
            try:
                sell()
                orders, emails, on_hand = wait_for_handlers()
            finally:
                worker.terminate()
        print(f"{orders} orders, 2 of them canceled: {emails} e-mails, {on_hand} of 100 pieces on hand")
        if (orders, emails, on_hand) != (19, 21, 66):
            raise CommandError("unexpected result: expected 19 orders, 21 e-mails and 66 pieces on hand")


async def create_log(url: str) -> None:
    """Create the log, as `fait db init` does."""
    async with shop.open(url, run="elsewhere"):
        pass


def sell() -> None:
    """Place twenty orders; one is rolled back and two are canceled."""
    for number in range(20):
        with transaction.atomic():
            place(str(number), "ada", "sencha", 2)
            if number == 13:
                transaction.set_rollback(True)  # the customer left before the order was confirmed
    for number in ("3", "5"):
        cancel(number)


def wait_for_handlers() -> tuple[int, int, int]:
    """Wait until the handlers have processed all events; return the orders, e-mails and pieces on hand."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        orders, emails = Order.objects.count(), Mail.objects.count()
        on_hand = Stock.objects.get(sku="sencha").on_hand
        if (emails == orders + 2 and on_hand == 100 - 2 * (orders - 2)) or time.monotonic() > deadline:
            return orders, emails, on_hand
        time.sleep(0.1)
