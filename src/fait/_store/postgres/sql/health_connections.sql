-- health_connections: the number of client connections to the server, and the connection limit of this role.
-- In:   nothing
-- Out:  number of connections to all databases; the limit, -1: no limit
SELECT count(*), (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)
FROM pg_stat_activity
WHERE backend_type IS NULL OR backend_type = 'client backend';
