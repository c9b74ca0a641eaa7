-- hidden_tables: tables of the store in which row-level security can hide rows from this role. Views and some functions
-- read with the rights of the owner, which FORCE ROW LEVEL SECURITY restricts, too.
-- In:   $1 schema
-- Out:  names
SELECT c.relname::text
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_roles AS owner ON owner.oid = c.relowner
WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relname LIKE 'fait\_%' AND (
    row_security_active(c.oid)
    OR c.relrowsecurity AND c.relforcerowsecurity AND NOT (owner.rolsuper OR owner.rolbypassrls)
)
ORDER BY c.relname;
