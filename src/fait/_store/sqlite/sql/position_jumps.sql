-- position_jumps: the highest mark of each source that is far above the next highest one.
-- In:   ?1 consumer · ?2 number of positions
-- Out:  source, key and position of the mark, and the next highest position
SELECT source, key, position, previous FROM (
    SELECT source, key, position, lead(position) OVER w AS previous, row_number() OVER w AS rank
    FROM fait_inbox_marks WHERE consumer = ?1
    WINDOW w AS (PARTITION BY source ORDER BY position DESC)
) AS ranked
WHERE rank = 1 AND position - previous > ?2
ORDER BY source;
