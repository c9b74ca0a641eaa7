-- health_triggers: the triggers of the schema.
-- In:   $1 schema
-- Out:  table, trigger, and tgenabled: O and A fire, R and D do not
SELECT c.relname, t.tgname, t.tgenabled::text
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND NOT t.tgisinternal;
