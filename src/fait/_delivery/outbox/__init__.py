"""The outbox (`outbox`), for each supported database library (`adapters`); `open` selects the adapter."""
