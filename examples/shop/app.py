"""The shop's app: its aggregates, boundaries and read models, and the handlers of its events."""

import fait

from . import earlier_events, inventory, orders, summaries
from .handlers import release_stock, reserve_stock, send_email
from .orders import OrderCanceled, OrderPlaced, OrderShipped

shop = fait.App("shop")
shop.include(orders, earlier_events, inventory, summaries)

shop.on(OrderPlaced)(reserve_stock)
shop.on(OrderCanceled)(release_stock)
shop.on(OrderPlaced, OrderShipped)(send_email)
