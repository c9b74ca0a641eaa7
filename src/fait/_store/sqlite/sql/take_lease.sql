-- take_lease: become the owner, if the lease is still as it was seen; who owns it already may have shown life since.
-- In:   ?1 name · ?2 new owner · ?3 seen owner · ?4 seen fence · ?5 seen beat
-- Out:  the new fence and beat; no row = somebody was quicker
INSERT INTO fait_leases (name, owner, fence, beat)
VALUES (?1, ?2, ?4 + 1, ?5 + 1)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, beat = beat + 1
WHERE owner = ?3 AND fence = ?4 AND (beat = ?5 OR owner = ?2)
RETURNING fence, beat;
