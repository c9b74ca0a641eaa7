"""HTTP for an app: problem details, preconditions, idempotency keys, read-your-writes, paging and event feeds."""
