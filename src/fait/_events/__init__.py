"""Facts: what an event is, how it is named, kept and read again. Values only: no clock, no I/O."""
