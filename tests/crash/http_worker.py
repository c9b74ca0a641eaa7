"""The web application of the test with two worker processes."""

import os

from tests.http.bank import bank_api

web = bank_api(os.environ["FAIT_STORE"], lease_s=0.5)


@web.get("/process")
async def process() -> int:
    return os.getpid()
