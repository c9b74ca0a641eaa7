"""Planted faults, by layer: deliberate defects that named tests must detect."""
