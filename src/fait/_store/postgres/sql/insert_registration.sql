-- insert_registration: insert a registration with its range, unless there is one, also a retired one.
-- In:   $1 subscription · $2 app · $3 kind · $4 definition_hash · $5 handled_types · $6 log_id · $7 epoch_id
--       $8 generation · $9 revision · $10 paused · $11 position · $12 definition
-- Out:  one row; no row: there is one
-- Plan: Insert on fait_subscriptions and fait_ranges, after a lock: no message is dropped before the range is visible
WITH registered AS (
    INSERT INTO {schema}.fait_subscriptions (
        subscription, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision, paused, state,
        definition
    )
    SELECT $1, $2, $3, $4, $5, $6, $7, $8::integer, $9::bigint, $10::boolean, 'live', $12
    FROM pg_advisory_xact_lock_shared(hashtextextended('{schema}.fait_retention', 0))
    ON CONFLICT DO NOTHING
    RETURNING subscription, generation
)
INSERT INTO {schema}.fait_ranges
    (subscription, generation, low, high, position, frontier, pending, health, worker, fencing_token)
SELECT subscription, generation, 0, 65536, $11::bigint, $11::bigint, '{}'::bigint[], '', '', 0 FROM registered
RETURNING low;
