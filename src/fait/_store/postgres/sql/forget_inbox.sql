-- forget_inbox: delete what a consumer remembers.
-- In:   $1 consumer
-- Out:  nothing
-- Plan: Delete on fait_inbox_marks, fait_inbox_floors, fait_inbox_ids, fait_inbox_offsets and fait_inbox_messages, by their primary keys
WITH marks AS (
    DELETE FROM {schema}.fait_inbox_marks WHERE consumer = $1
), floors AS (
    DELETE FROM {schema}.fait_inbox_floors WHERE consumer = $1
), ids AS (
    DELETE FROM {schema}.fait_inbox_ids WHERE consumer = $1
), offsets AS (
    DELETE FROM {schema}.fait_inbox_offsets WHERE consumer = $1
)
DELETE FROM {schema}.fait_inbox_messages WHERE consumer = $1;
