"""The shop at work: this process sells, while another runs the handlers."""

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

WAIT_S = 30.0


class Command(BaseCommand):
    help = "Sell some tea on the empty database that FAIT_STORE names."

    def handle(self, *_: Any, **__: Any) -> None:
        url = os.environ["FAIT_STORE"]
        asyncio.run(create_log(url))
        call_command("migrate", run_syncdb=True, verbosity=0)
        Stock.objects.create(sku="sencha", on_hand=100)
        with subprocess.Popen([sys.executable, "-m", "examples.outbox_django.worker", url]) as worker:  # noqa: S603
            try:
                sell()
                orders, mails, on_hand = settled()
            finally:
                worker.terminate()
        print(f"{orders} orders, 2 of them cancelled: {mails} mails, {on_hand} of 100 pieces on hand")
        if (orders, mails, on_hand) != (19, 21, 66):
            raise CommandError("this is not what was sold")


async def create_log(url: str) -> None:
    """Do what `fait db init` does."""
    async with shop.open(url, run="elsewhere"):
        pass


def sell() -> None:
    """Twenty orders: one is rolled back, two are cancelled."""
    for number in range(20):
        with transaction.atomic():
            place(str(number), "ada", "sencha", 2)
            if number == 13:
                transaction.set_rollback(True)  # the customer closed the window
    for number in ("3", "5"):
        cancel(number)


def settled() -> tuple[int, int, int]:
    """Orders, mails and pieces on hand, once the handlers have seen everything."""
    deadline = time.monotonic() + WAIT_S
    while True:
        orders, mails = Order.objects.count(), Mail.objects.count()
        on_hand = Stock.objects.get(sku="sencha").on_hand
        if (mails == orders + 2 and on_hand == 100 - 2 * (orders - 2)) or time.monotonic() > deadline:
            return orders, mails, on_hand
        time.sleep(0.1)
