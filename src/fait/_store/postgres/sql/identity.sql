-- identity: the identity of the log, the cluster and timeline where it was last confirmed, and its sequence.
-- In:   nothing
-- Out:  log_id, epoch_id, system_identifier, timeline, whether the constants of the functions agree with the last two and
--       epoch_id, oid and CACHE of the sequence, position of the last event, last value of the sequence (NULL if this
--       role may not read it)
SELECT log_id, epoch_id, system_identifier, timeline,
    (epoch_id, timeline) IS NOT DISTINCT FROM ({schema}.fait_epoch_1(), {schema}.fait_timeline_1()),
    seqrelid::bigint, seqcache,
    greatest(
        (SELECT max(position) FROM {schema}.fait_events), (SELECT max(position) FROM {schema}.fait_messages), 0
    ),
    CASE WHEN has_sequence_privilege(seqrelid, 'USAGE, SELECT') THEN coalesce(pg_sequence_last_value(seqrelid), 0) END
FROM {schema}.fait_log, pg_sequence
WHERE seqrelid = '{schema}.fait_position'::regclass;
