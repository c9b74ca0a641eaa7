-- update_definition: replace the definition of a registration.
-- In:   ?1 subscription · ?2 definition_hash, or NULL to keep it · ?3 handled_types · ?4 definition, or NULL to keep it
-- Out:  one row; no row: there is no such registration
UPDATE fait_subscriptions
SET definition_hash = ifnull(?2, definition_hash), handled_types = ?3,
    definition = ifnull(?4, definition), revision = revision + 1
WHERE subscription = ?1 AND state = 'live'
RETURNING revision;
