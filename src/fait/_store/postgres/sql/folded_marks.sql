-- folded_marks: the highest positions of marks of a consumer that were folded.
-- In:   $1 consumer
-- Out:  source, bucket, lane and position
-- Plan: Index Scan using fait_inbox_floors_pkey
SELECT source, bucket, lane, folded FROM {schema}.fait_inbox_floors WHERE consumer = $1 AND folded > 0;
