"""A bank, in one module, with its tests."""
