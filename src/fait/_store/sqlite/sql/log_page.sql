-- log_page: where the file has the id of the log.
-- In:   nothing
-- Out:  the page, counted from 1, and log_id
SELECT rootpage, log_id FROM sqlite_schema, fait_log WHERE name = 'fait_log';
