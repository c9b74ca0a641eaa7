-- set_registration: insert a registration with its range. One that exists is replaced if it is retired, or if the caller
-- says so; then its range is freed, and no fencing token is used twice.
-- In:   $1 subscription · $2 app · $3 kind · $4 definition_hash · $5 handled_types · $6 log_id · $7 epoch_id
--       $8 generation · $9 revision · $10 position · $11 whether to replace one that is not retired
-- Out:  nothing; read the registration with the next statement, as an existing one may not be visible to this one
-- Plan: Insert on fait_subscriptions and fait_ranges, after a lock: no message is dropped before the range is visible
WITH registered AS (
    INSERT INTO {schema}.fait_subscriptions AS s
        (subscription, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision, state)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8::integer, $9::bigint, 'live'
    FROM pg_advisory_xact_lock_shared(hashtextextended('{schema}.fait_retention', 0))
    ON CONFLICT (subscription, generation) DO UPDATE SET
        app = excluded.app, kind = excluded.kind, definition_hash = excluded.definition_hash,
        handled_types = excluded.handled_types, log_id = excluded.log_id, epoch_id = excluded.epoch_id,
        revision = greatest(s.revision, excluded.revision) + 1, state = 'live'
    WHERE s.state = 'retired' OR $11
    RETURNING subscription, generation
)
INSERT INTO {schema}.fait_ranges AS r (subscription, generation, low, high, position, worker, fencing_token)
SELECT subscription, generation, 0, 65536, $10::bigint, '', 0 FROM registered
ON CONFLICT (subscription, generation, low) DO UPDATE SET
    position = excluded.position, worker = '', fencing_token = r.fencing_token + 1;
