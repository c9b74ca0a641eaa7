-- move_ranges: copy the ranges of a retired registration to that of another name. No fencing token is used twice.
-- In:   $1 old name · $2 new name · $3 generation
-- Out:  nothing
-- Plan: Insert on fait_ranges, after a Delete
WITH previous AS (
    DELETE FROM {schema}.fait_ranges WHERE subscription = $2 AND generation = $3 RETURNING fencing_token
)
INSERT INTO {schema}.fait_ranges
    (subscription, generation, low, high, position, frontier, pending, health, worker, fencing_token)
SELECT $2, generation, low, high, position, frontier, pending, health, '',
    greatest(fencing_token, (SELECT max(fencing_token) + 1 FROM previous))
FROM {schema}.fait_ranges
WHERE subscription = $1 AND generation = $3;
