"""An app with a relay and a consumer at the broker of the variable SHOP_BROKER."""

from tests.relay.published import Counted, relay_app

app = relay_app("${SHOP_BROKER}")


@app.consume("orders", from_="${SHOP_BROKER}", as_=Counted, name="count")
async def count(event: Counted) -> None:
    pass
