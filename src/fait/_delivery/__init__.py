"""Letters: what leaves through other people's transactions and connections, and what comes back that way."""
