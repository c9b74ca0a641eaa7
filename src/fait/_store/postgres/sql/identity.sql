-- identity: the identity of the log, and the cluster and timeline where it was last confirmed.
-- In:   nothing
-- Out:  log_id, epoch_id, system_identifier, timeline, oid and CACHE of the sequence
SELECT log_id, epoch_id, system_identifier, timeline, seqrelid::bigint, seqcache
FROM {schema}.fait_log, pg_sequence
WHERE seqrelid = '{schema}.fait_position'::regclass;
