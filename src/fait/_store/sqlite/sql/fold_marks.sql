-- fold_marks: delete marks that are not above their floor; `set_folded` follows in the same transaction.
-- In:   ?1 consumer · ?2 time before which they were moved · ?3 pairs of source and key that remain, a JSON array
--       · ?4 limit
-- Out:  source, bucket, lane and position of each deleted mark
DELETE FROM fait_inbox_marks
WHERE (consumer, source, key) IN (
    SELECT m.consumer, m.source, m.key
    FROM fait_inbox_marks AS m JOIN fait_inbox_floors AS f USING (consumer, source, bucket, lane)
    WHERE m.consumer = ?1 AND m.handled_at < ?2
        -- fault: mark-above-floor-folded-in-sqlite
        AND m.position <= f.position
        AND NOT EXISTS (SELECT 1 FROM json_each(?3) AS u WHERE u.value ->> 0 = m.source AND u.value ->> 1 = m.key)
    LIMIT ?4
)
RETURNING source, bucket, lane, position;
