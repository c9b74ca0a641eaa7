"""The shop as a whole: what it consists of, and which handler answers which event."""

import fait

from . import inventory, orders, summaries
from .handlers import release_stock, reserve_stock, send_email
from .orders import OrderCancelled, OrderPlaced, OrderShipped

shop = fait.App("shop")
shop.include(orders, inventory, summaries)

shop.on(OrderPlaced)(reserve_stock)
shop.on(OrderCancelled)(release_stock)
shop.on(OrderPlaced, OrderShipped)(send_email)
