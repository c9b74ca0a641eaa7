-- set_registration: insert a registration. One that exists is replaced if it is retired, or if the caller says so.
-- In:   ?1 subscription · ?2 app · ?3 kind · ?4 definition_hash · ?5 handled_types · ?6 log_id · ?7 epoch_id
--       ?8 generation · ?9 revision · ?10 paused · ?11 whether to replace one that is not retired · ?12 definition
-- Out:  one row; no row: it exists
INSERT INTO fait_subscriptions
    (subscription, app, kind, definition_hash, handled_types, log_id, epoch_id, generation, revision, paused,
     state, definition)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'live', ?12)
ON CONFLICT (subscription, generation) DO UPDATE SET
    app = excluded.app, kind = excluded.kind, definition_hash = excluded.definition_hash,
    handled_types = excluded.handled_types, log_id = excluded.log_id, epoch_id = excluded.epoch_id,
    revision = max(revision, excluded.revision) + 1, paused = excluded.paused,
    state = 'live', definition = excluded.definition
WHERE state = 'retired' OR ?11
RETURNING revision;
