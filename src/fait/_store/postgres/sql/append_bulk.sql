-- append_bulk: see migrations/0005_append_bulk_1.sql.
-- In:   $1-$3 writes · $4 types · $5 tags · $6 moment · $7 patience · $8 idle
-- Out:  version and last position of each write; no row = a stream is not as expected
SELECT write_no, last_version, last_position FROM {schema}.fait_append_bulk_1($1, $2, $3, $4, $5, $6, $7, $8);
