"""Lock files of event types, and the check that today's code reads every version that was ever locked."""
