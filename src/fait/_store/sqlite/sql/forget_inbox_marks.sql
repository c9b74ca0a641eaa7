-- forget_inbox_marks: delete the marks of a consumer.
-- In:   ?1 consumer
-- Out:  nothing
DELETE FROM fait_inbox_marks WHERE consumer = ?1;
