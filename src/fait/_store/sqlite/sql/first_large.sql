-- first_large: the first large event of the log in a range of positions.
-- In:   ?1 after · ?2 last position
-- Out:  its position; no row: there is none
-- Plan: SEARCH fait_events USING COVERING INDEX fait_events_large_position (position>? AND position<?)
SELECT position
FROM fait_events INDEXED BY fait_events_large_position
WHERE position > ?1 AND position <= ?2
    AND (length(data) > 4096 OR length(metadata) > 4096 OR length(tags) > 4096)
ORDER BY position
LIMIT 1;
