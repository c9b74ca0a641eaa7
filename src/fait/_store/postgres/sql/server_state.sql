-- server_state: what must be known of a server before a log on it is used.
-- In:   nothing
-- Out:  its version's number, whether it is a standby, the timeline that it writes (NULL on a standby), and whether this role may
--       ask which cluster it is
SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
    CASE WHEN NOT pg_is_in_recovery()
        THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
    END,
    has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE');
