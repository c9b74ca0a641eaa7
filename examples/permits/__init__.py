"""Permits: queries over an imported log, without declaring an event class."""
