-- reset_ranges: replace the ranges of a registration by one that is free. No fencing token is used twice.
-- In:   $1 subscription · $2 generation · $3 position
-- Out:  nothing
-- Plan: Insert on fait_ranges, after a Delete: a record of a former owner finds no range, or another fencing token
WITH previous AS (
    DELETE FROM {schema}.fait_ranges WHERE subscription = $1 AND generation = $2 RETURNING fencing_token
)
INSERT INTO {schema}.fait_ranges
    (subscription, generation, low, high, position, frontier, pending, health, worker, fencing_token)
SELECT $1, $2, 0, 65536, $3, $3, '{}', '', '', coalesce(max(fencing_token) + 1, 0) FROM previous;
