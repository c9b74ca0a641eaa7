-- old_messages: messages of a type after a position that every subscription has finished, in order.
-- In:   ?1 type · ?2 after · ?3 last position to consider · ?4 limit
-- Out:  position, recorded_at, tags, whether it is the last event of its stream
-- Plan: SEARCH e USING INDEX fait_events_messages (type=? AND rowid>? AND rowid<?)
SELECT position, recorded_at, tags, version = (SELECT max(version) FROM fait_events WHERE stream = e.stream)
FROM fait_events AS e
WHERE type = ?1 AND expires = 1 AND position > ?2
    -- fault: expire-above-checkpoint
    AND position <= ifnull((
        SELECT min(r.position) FROM fait_ranges AS r JOIN fait_subscriptions USING (subscription, generation)
        WHERE state <> 'retired' AND kind NOT IN ('system', 'consumer')
    ), ?3)
    -- fault: expire-above-failure
    AND position <= ifnull((
        SELECT min(next_position) - 1 FROM fait_failures JOIN fait_subscriptions USING (subscription, generation)
        WHERE kind != 'consumer'
    ), ?3)
    AND position <= ?3
ORDER BY position
LIMIT ?4;
