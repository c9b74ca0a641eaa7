-- create_log: give a new log its identity, and record its cluster and timeline. Part of setting up a schema.
-- In:   nothing
-- Out:  nothing
DO $$
DECLARE
    cluster text := '';
BEGIN
    IF has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') THEN
        SELECT system_identifier::text INTO cluster FROM pg_control_system();
    END IF;
    INSERT INTO {schema}.fait_log (log_id, epoch, system_identifier, timeline)
    VALUES (
        gen_random_uuid()::text, 1, cluster,
        ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
    )
    ON CONFLICT DO NOTHING;
END $$;
