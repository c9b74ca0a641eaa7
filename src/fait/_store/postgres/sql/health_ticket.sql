-- health_ticket: sessions and prepared transactions with locks that appends need: append tickets, condition locks, and
-- locks on fait_streams. Any role that may connect can hold the advisory ones. Readers wait for those that append.
-- In:   nothing
-- Out:  whether it appends, pid, role, application_name, client address, state, gid of the prepared transaction, and the
--       age of the transaction in seconds (NULL: none is open), those that append first, by the age of the ticket. For a
--       session, all from application_name are NULL if this role may not read them; for a prepared transaction, pid is
--       NULL
SELECT l.appends, l.pid, coalesce(p.owner, a.usename)::text, a.application_name, host(a.client_addr), a.state, p.gid,
    extract(epoch FROM clock_timestamp() - coalesce(p.prepared, a.xact_start))::float8
FROM (
    SELECT virtualtransaction, pid,
        bool_or(mode = 'RowExclusiveLock') AND bool_or(locktype = 'advisory' AND objsubid = 2) AS appends,
        max((s.last - objid::bigint) & 4294967295) FILTER (WHERE locktype = 'advisory' AND objsubid = 2) AS distance
    FROM pg_locks
    CROSS JOIN (SELECT coalesce(pg_sequence_last_value('{schema}.fait_position'), 0) AS last) AS s
    WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND granted AND (
        locktype = 'advisory' AND classid = '{schema}.fait_position'::regclass::oid
        OR locktype = 'relation' AND relation = '{schema}.fait_streams'::regclass::oid AND mode <> 'AccessShareLock'
    )
    GROUP BY virtualtransaction, pid
) AS l
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_prepared_xacts AS p ON l.pid IS NULL AND p.transaction = (
    SELECT t.transactionid FROM pg_locks AS t
    WHERE t.locktype = 'transactionid' AND t.pid IS NULL AND t.virtualtransaction = l.virtualtransaction AND t.granted
    LIMIT 1
)
ORDER BY l.appends DESC, l.distance DESC NULLS LAST, coalesce(a.xact_start, a.state_change);
