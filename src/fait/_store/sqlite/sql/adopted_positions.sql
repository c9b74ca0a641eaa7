-- adopted_positions: the frontiers of all registrations except those of kind system.
-- In:   ?1 id of the new epoch
-- Out:  subscription, highest frontier, whether the registration is in the new epoch; by subscription
SELECT subscription, max(frontier), epoch_id = ?1
FROM fait_subscriptions JOIN fait_ranges USING (subscription, generation)
WHERE state <> 'retired' AND kind != 'system'
GROUP BY subscription, generation
ORDER BY subscription, generation;
