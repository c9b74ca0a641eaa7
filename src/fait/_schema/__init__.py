"""Descriptions of event types, and the comparison of two of them."""
