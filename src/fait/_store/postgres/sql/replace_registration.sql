-- replace_registration: insert a registration. One that exists is replaced if it is retired, or if the caller says so.
-- In:   $1 subscription · $2 app · $3 kind · $4 definition_hash · $5 handled_types · $6 log_id · $7 epoch_id
--       $8 generation · $9 revision · $10 paused · $11 whether to replace one that is not retired · $12 definition
-- Out:  one row; no row: it exists
-- Plan: Insert on fait_subscriptions, after a lock: no message is dropped before the range is visible
INSERT INTO {schema}.fait_subscriptions AS s (
    subscription, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision, paused, state,
    definition
)
SELECT $1, $2, $3, $4, $5, $6, $7, $8::integer, $9::bigint, $10::boolean, 'live', $12
FROM pg_advisory_xact_lock_shared(hashtextextended('{schema}.fait_retention', 0))
ON CONFLICT (subscription, generation) DO UPDATE SET
    app = excluded.app, kind = excluded.kind, definition_hash = excluded.definition_hash,
    handled_types = excluded.handled_types, log_id = excluded.log_id, epoch_id = excluded.epoch_id,
    revision = greatest(s.revision, excluded.revision) + 1, paused = excluded.paused, state = 'live',
    definition = excluded.definition
WHERE s.state = 'retired' OR $11
RETURNING s.revision;
