-- insert_range: insert a free range. No fencing token is used twice.
-- In:   ?1 subscription · ?2 generation · ?3 low · ?4 high · ?5 position · ?6 frontier · ?7 pending · ?8 health
--       ?9 minimum of the fencing token · ?10 another one
-- Out:  nothing
INSERT INTO fait_ranges
    (subscription, generation, low, high, position, frontier, pending, health, worker, fencing_token)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, '', max(?9, ?10));
