"""Relays: subscriptions that publish events to brokers."""
