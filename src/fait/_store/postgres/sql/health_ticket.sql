-- health_ticket: the session that holds the oldest append ticket. Readers wait for it.
-- In:   nothing
-- Out:  its pid, role, application_name, state, and the age of its transaction in seconds; the last three are NULL if
--       this role may not read them. No row: no append is open
SELECT l.pid, a.usename, a.application_name, a.state, extract(epoch FROM clock_timestamp() - a.xact_start)::float8
FROM pg_locks AS l
CROSS JOIN (SELECT coalesce(pg_sequence_last_value('{schema}.fait_position'), 0) AS last) AS s
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.classid = '{schema}.fait_position'::regclass::oid AND l.objsubid = 2 AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY (s.last - l.objid::bigint) & 4294967295 DESC, a.xact_start
LIMIT 1;
