"""Tools for tests: the contracts that a backend of your own must keep, and strategies that make events by chance."""
