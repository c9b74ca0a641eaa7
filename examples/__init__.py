"""Example programs that use fait."""
