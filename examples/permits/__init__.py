"""Permits: an imported log, without an event class of its own, and the questions one has about it."""
