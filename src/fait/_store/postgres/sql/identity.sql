-- identity: which log this is, and where it was when that was last confirmed.
-- In:   nothing
-- Out:  log_id, epoch, system_identifier, timeline, the sequence's oid, its CACHE
SELECT log_id, epoch, system_identifier, timeline, seqrelid::bigint, seqcache
FROM {schema}.fait_log, pg_sequence
WHERE seqrelid = '{schema}.fait_position'::regclass;
