"""The SQLite backend: one file, durable by default, any number of processes on one machine."""
