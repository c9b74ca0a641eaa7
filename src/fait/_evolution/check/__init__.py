"""The check of event types: the rules, and the proof that today's code reads every locked version."""
