-- health_backend: the process id of the server process behind the connection. Through a pooler it can change.
-- In:   nothing
-- Out:  pid
SELECT pg_backend_pid();
