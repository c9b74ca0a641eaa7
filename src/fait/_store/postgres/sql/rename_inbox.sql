-- rename_inbox: move what a consumer remembers to another name.
-- In:   $1 old name · $2 new name
-- Out:  nothing
-- Plan: Update on fait_inbox_marks, fait_inbox_floors, fait_inbox_ids, fait_inbox_offsets and fait_inbox_messages, by their primary keys
WITH marks AS (
    UPDATE {schema}.fait_inbox_marks SET consumer = $2 WHERE consumer = $1
), floors AS (
    UPDATE {schema}.fait_inbox_floors SET consumer = $2 WHERE consumer = $1
), ids AS (
    UPDATE {schema}.fait_inbox_ids SET consumer = $2 WHERE consumer = $1
), offsets AS (
    UPDATE {schema}.fait_inbox_offsets SET consumer = $2 WHERE consumer = $1
)
UPDATE {schema}.fait_inbox_messages SET consumer = $2 WHERE consumer = $1;
