-- reserve: see migrations/0005_reserve_1.sql.
-- In:   $1-$3 writes · $4 types · $5 tags · $6 moment · $7 patience
-- Out:  version, moment and positions for each write; no row = a stream is not as expected
SELECT write_no, last_version, moment_recorded, positions FROM {schema}.fait_reserve_1($1, $2, $3, $4, $5, $6, $7);
