-- existing_relations: what has the given names in a schema: tables, views, indexes.
-- In:   $1 schema · $2 names
-- Out:  name, kind, name of the table of an index or NULL, comment or NULL
-- Plan: Index Scan using pg_class_relname_nsp_index
SELECT c.relname::text,
    CASE c.relkind
        WHEN 'r' THEN 'table' WHEN 'i' THEN 'index' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
        WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'S' THEN 'sequence' ELSE 'relation'
    END,
    (SELECT t.relname::text FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid WHERE i.indexrelid = c.oid),
    obj_description(c.oid, 'pg_class')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY($2::text[]::name[]);
