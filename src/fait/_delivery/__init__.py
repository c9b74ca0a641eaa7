"""Delivery of events between the log and other systems: `outbox` appends events in a transaction of the application."""
