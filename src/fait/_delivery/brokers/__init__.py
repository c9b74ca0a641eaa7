"""Brokers: the port, what opens it by URL, and the adapters."""
