-- adopt_registrations: free all ranges, and carry registrations over to a new epoch. One with a range beyond the head
-- keeps the old epoch, so its subscription does not start.
-- In:   $1 log_id · $2 id of the old epoch · $3 id of the new epoch · $4 head
-- Out:  subscription, highest position and whether it is in the new epoch, without those of kind system
-- Plan: registrations are locked before their ranges, in the order of all changes of a registration
WITH locked AS MATERIALIZED (
    SELECT subscription, generation FROM {schema}.fait_subscriptions ORDER BY subscription, generation FOR UPDATE
), freed AS (
    UPDATE {schema}.fait_ranges AS r SET worker = '', fencing_token = r.fencing_token + 1
    FROM locked AS l WHERE r.subscription = l.subscription AND r.generation = l.generation
    RETURNING r.subscription, r.generation, r.position
), positions AS MATERIALIZED (
    SELECT subscription, generation, max(position) AS position FROM freed GROUP BY subscription, generation
), carried AS (
    UPDATE {schema}.fait_subscriptions AS s SET epoch_id = $3
    FROM positions AS p
    WHERE s.subscription = p.subscription AND s.generation = p.generation
        AND s.log_id = $1 AND s.epoch_id = $2 AND p.position <= $4
    RETURNING s.subscription, s.generation
)
SELECT s.subscription, p.position, c.subscription IS NOT NULL
FROM {schema}.fait_subscriptions AS s
JOIN positions AS p USING (subscription, generation)
LEFT JOIN carried AS c USING (subscription, generation)
WHERE s.state <> 'retired' AND s.kind <> 'system'
ORDER BY s.subscription, s.generation;
