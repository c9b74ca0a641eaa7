-- insert_action: record an action of an operator.
-- In:   ?1 action · ?2 subscription · ?3 details · ?4 user · ?5 reason · ?6 current time
-- Out:  nothing
INSERT INTO fait_actions (action, subscription, details, requested_by, reason, recorded_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6);
