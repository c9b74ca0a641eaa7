"""Hands: what people use around a system of theirs. The command line is in `cli`."""
