"""Consumers: handlers of messages of a broker, each of which takes effect once."""
