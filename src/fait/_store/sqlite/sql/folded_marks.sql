-- folded_marks: the highest positions of marks of a consumer that were folded.
-- In:   ?1 consumer
-- Out:  source, bucket, lane and position
SELECT source, bucket, lane, folded FROM fait_inbox_floors WHERE consumer = ?1 AND folded > 0;
