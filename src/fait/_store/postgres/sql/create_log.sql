-- create_log: give a new log its identity and its first epoch, and record its cluster and timeline. Part of setting up a schema.
-- In:   nothing
-- Out:  nothing
DO $$
DECLARE
    cluster text := '';
BEGIN
    IF has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') THEN
        SELECT system_identifier::text INTO cluster FROM pg_control_system();
    END IF;
    WITH epoch AS (
        INSERT INTO {schema}.fait_epochs (number, epoch_id, after_position) VALUES (1, gen_random_uuid()::text, 0)
        ON CONFLICT DO NOTHING
        RETURNING epoch_id
    )
    INSERT INTO {schema}.fait_log (log_id, epoch_id, system_identifier, timeline)
    SELECT gen_random_uuid()::text, epoch_id, cluster,
        ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
    FROM epoch;
    PERFORM {schema}.fait_confirm_1();
END $$;
