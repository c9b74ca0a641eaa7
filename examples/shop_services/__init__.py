"""A shop as two services, orders and inventory, each with its own database, that exchange events through a broker."""
