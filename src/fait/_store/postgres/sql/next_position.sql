-- next_position: the position of the first event after a position.
-- In:   $1 after
-- Out:  one row: the position, or NULL
-- Plan: Index Only Scan using the primary keys
SELECT least(
    (SELECT min(position) FROM {schema}.fait_events WHERE position > $1),
    (SELECT min(position) FROM {schema}.fait_messages WHERE position > $1)
);
