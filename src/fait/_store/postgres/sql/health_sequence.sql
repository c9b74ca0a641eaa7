-- health_sequence: whether positions are given one at a time, upwards, and beyond all that there are.
-- In:   nothing
-- Out:  increment, CACHE, CYCLE, the last position given, the last position stored, whether this role may see the fourth
SELECT seqincrement, seqcache, seqcycle, coalesce(pg_sequence_last_value(seqrelid), 0),
    greatest(
        (SELECT max(position) FROM {schema}.fait_events), (SELECT max(position) FROM {schema}.fait_messages), 0
    ),
    has_sequence_privilege('{schema}.fait_position', 'SELECT, USAGE')
FROM pg_sequence WHERE seqrelid = '{schema}.fait_position'::regclass;
