"""Delivery of events outside of a store of fait: the outbox, which appends in a transaction of the application."""
