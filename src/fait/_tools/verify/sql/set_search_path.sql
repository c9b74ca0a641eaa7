-- set_search_path: until the transaction's end, names without a schema mean this one.
-- In:   ? schema
-- Out:  schema
SELECT set_config('search_path', CAST(? AS text), true);
