-- system_identifier: the identifier of the database cluster; initdb creates it, and physical copies share it.
-- In:   nothing
-- Out:  system_identifier, as text
SELECT system_identifier::text FROM pg_control_system();
