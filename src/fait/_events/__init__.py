"""Events: declaring, encoding, decoding and validating them. Values only: no clock, no I/O."""
