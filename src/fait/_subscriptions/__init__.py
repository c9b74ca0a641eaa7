"""Subscriptions: projections and reactors, the processors that run them, and reads from read models."""
