-- take_lease: become the owner, if the lease is still as it was seen; who owns it already may have shown life since.
-- In:   $1 name · $2 new owner · $3 seen owner · $4 seen fence · $5 seen beat
-- Out:  the new fence and beat; no row = somebody was quicker
-- Plan: Insert on fait_leases
INSERT INTO {schema}.fait_leases AS l (name, owner, fence, beat)
VALUES ($1, $2, $4::bigint + 1, $5::bigint + 1)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, beat = l.beat + 1
WHERE l.owner = $3 AND l.fence = $4 AND (l.beat = $5 OR l.owner = $2)
RETURNING fence, beat;
