-- health_backend: the server's process behind this connection, if only for now.
-- In:   nothing
-- Out:  pid
SELECT pg_backend_pid();
