-- append: see migrations/0004_append_1.sql.
-- In:   $1-$3 writes · $4-$13 events · $14-$18 queries · $19 moment · $20 whole · $21 look_up · $22 patience
-- Out:  a verdict for each write
SELECT write_no, verdict, last_version, last_position, stored, between_events
FROM {schema}.fait_append_1(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22
);
