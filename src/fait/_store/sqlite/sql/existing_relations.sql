-- existing_relations: what has the given names: tables, views, indexes.
-- In:   ?1 JSON array of names
-- Out:  name in lower case, type, name of its table, definition or NULL
SELECT lower(name), type, tbl_name, sql FROM main.sqlite_schema
WHERE lower(name) IN (SELECT lower(value) FROM json_each(?1)) AND type <> 'trigger';
