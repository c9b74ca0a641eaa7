"""Locks of event types: their content, their folder, what the next version is, and the settings of the check."""
