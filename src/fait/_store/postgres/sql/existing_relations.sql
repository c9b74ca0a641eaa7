-- existing_relations: which of the given tables and indexes exist in a schema.
-- In:   $1 schema · $2 names
-- Out:  the names of those that exist
-- Plan: Index Scan using pg_class_relname_nsp_index
SELECT c.relname::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY($2::name[]);
