-- adopt_registrations: free all ranges, and carry registrations over to a new epoch. One with a range beyond the head
-- keeps the old epoch, so its subscription does not start, unless its source is a broker.
-- In:   $1 log_id · $2 id of the old epoch · $3 id of the new epoch · $4 head
-- Out:  subscription, highest frontier and whether it is in the new epoch, without those of kind system
-- Plan: Update on fait_ranges and fait_subscriptions, whose rows lock_registration has locked
WITH freed AS (
    UPDATE {schema}.fait_ranges AS r SET worker = '', fencing_token = r.fencing_token + 1
    RETURNING r.subscription, r.generation, r.frontier
), positions AS MATERIALIZED (
    SELECT subscription, generation, max(frontier) AS frontier FROM freed GROUP BY subscription, generation
), carried AS (
    UPDATE {schema}.fait_subscriptions AS s SET epoch_id = $3
    FROM positions AS p
    WHERE s.subscription = p.subscription AND s.generation = p.generation
        AND s.log_id = $1 AND s.epoch_id = $2 AND (p.frontier <= $4 OR s.kind = 'consumer')
    RETURNING s.subscription, s.generation
)
SELECT s.subscription, p.frontier, c.subscription IS NOT NULL
FROM {schema}.fait_subscriptions AS s
JOIN positions AS p USING (subscription, generation)
LEFT JOIN carried AS c USING (subscription, generation)
WHERE s.state <> 'retired' AND s.kind <> 'system'
ORDER BY s.subscription, s.generation;
