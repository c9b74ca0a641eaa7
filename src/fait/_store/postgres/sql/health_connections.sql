-- health_connections: connections of clients, to all databases of the server; and how many this role may have.
-- In:   nothing
-- Out:  how many are open; the role's limit, -1 without one
SELECT count(*), (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)
FROM pg_stat_activity
WHERE backend_type IS NULL OR backend_type = 'client backend';
