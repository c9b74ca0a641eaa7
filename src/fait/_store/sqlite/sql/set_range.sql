-- set_range: insert a free range, or free it and set its position. No fencing token is used twice.
-- In:   ?1 subscription · ?2 generation · ?3 position · ?4 minimum of the fencing token
-- Out:  nothing
INSERT INTO fait_ranges (subscription, generation, low, high, position, worker, fencing_token)
VALUES (?1, ?2, 0, 65536, ?3, '', ?4)
ON CONFLICT (subscription, generation, low) DO UPDATE SET
    -- fault: fencing-token-reused
    position = excluded.position, worker = '', fencing_token = max(fencing_token + 1, excluded.fencing_token);
