-- start_epoch: add an epoch. SQLite assigns the next number.
-- In:   ?1 epoch_id · ?2 position of the last event · ?3 started_at
-- Out:  nothing
INSERT INTO fait_epochs (epoch_id, after_position, started_at) VALUES (?1, ?2, ?3);
