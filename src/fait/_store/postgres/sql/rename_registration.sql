-- rename_registration: copy a registration and its ranges to another name, and retire the old one.
-- In:   $1 old name · $2 new name
-- Out:  nothing
-- Plan: Insert on fait_subscriptions and fait_ranges
WITH renamed AS (
    INSERT INTO {schema}.fait_subscriptions AS s
        (subscription, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision, state)
    SELECT $2, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision, 'live'
    FROM {schema}.fait_subscriptions
    WHERE subscription = $1 AND state = 'live'
    ON CONFLICT (subscription, generation) DO UPDATE SET
        app = excluded.app, kind = excluded.kind, definition_hash = excluded.definition_hash,
        handled_types = excluded.handled_types, log_id = excluded.log_id, epoch_id = excluded.epoch_id,
        revision = greatest(s.revision, excluded.revision) + 1, state = 'live'
    WHERE s.state = 'retired'
    RETURNING generation
), retired AS (
    UPDATE {schema}.fait_subscriptions AS s SET state = 'retired'
    FROM renamed WHERE s.subscription = $1 AND s.generation = renamed.generation
), freed AS (
    UPDATE {schema}.fait_ranges AS r SET worker = '', fencing_token = r.fencing_token + 1
    FROM renamed WHERE r.subscription = $1 AND r.generation = renamed.generation
    RETURNING r.generation, r.low, r.high, r.position, r.fencing_token
)
INSERT INTO {schema}.fait_ranges AS r (subscription, generation, low, high, position, worker, fencing_token)
SELECT $2, generation, low, high, position, '', fencing_token FROM freed
ON CONFLICT (subscription, generation, low) DO UPDATE SET
    high = excluded.high, position = excluded.position, worker = '',
    fencing_token = greatest(r.fencing_token + 1, excluded.fencing_token);
