"""Consequences: named readers of the log. Read models, reactors, and what runs them."""
