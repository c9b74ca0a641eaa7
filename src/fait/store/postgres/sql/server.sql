-- server: what must be known of a server before a log on it is used.
-- In:   nothing
-- Out:  its version's number, whether it is a standby, and the timeline that it writes; NULL on a standby
SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
    CASE WHEN NOT pg_is_in_recovery()
        THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
    END;
