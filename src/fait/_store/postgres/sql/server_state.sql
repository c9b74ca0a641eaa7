-- server_state: properties of the server that decide whether a log on it can be used.
-- In:   nothing
-- Out:  server_version_num, whether it is a standby, its current timeline (NULL on a standby),
--       whether this role may read the system identifier
SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
    CASE WHEN NOT pg_is_in_recovery()
        THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
    END,
    has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE');
