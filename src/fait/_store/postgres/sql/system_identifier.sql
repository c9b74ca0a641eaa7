-- system_identifier: which cluster of databases this is; made by initdb, and the same in all its physical copies.
-- In:   nothing
-- Out:  system identifier, as text
SELECT system_identifier::text FROM pg_control_system();
