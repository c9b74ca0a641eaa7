"""The SQLite backend: one file, durable by default, shared by any number of processes on one machine."""
