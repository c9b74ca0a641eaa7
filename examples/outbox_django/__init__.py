"""A shop on Django that stores orders and events in one transaction."""
