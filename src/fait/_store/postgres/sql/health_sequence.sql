-- health_sequence: the properties of the sequence of positions.
-- In:   nothing
-- Out:  INCREMENT, CACHE, CYCLE, its last value, the highest stored position, whether this role may read the last value
SELECT seqincrement, seqcache, seqcycle, coalesce(pg_sequence_last_value(seqrelid), 0),
    greatest(
        (SELECT max(position) FROM {schema}.fait_events), (SELECT max(position) FROM {schema}.fait_messages), 0
    ),
    has_sequence_privilege('{schema}.fait_position', 'SELECT, USAGE')
FROM pg_sequence WHERE seqrelid = '{schema}.fait_position'::regclass;
