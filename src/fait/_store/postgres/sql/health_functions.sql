-- health_functions: functions of the schema. Those whose statements need a snapshot each must be VOLATILE.
-- In:   $1 schema
-- Out:  name, volatility (v, s, i)
SELECT p.proname, p.provolatile::text
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = $1;
