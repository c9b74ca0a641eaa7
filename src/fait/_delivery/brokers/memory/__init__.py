"""The broker in memory."""
