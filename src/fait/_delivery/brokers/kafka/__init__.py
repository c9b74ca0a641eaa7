"""Kafka. A lane is a partition; a publication is a transaction, which also stores the position."""
