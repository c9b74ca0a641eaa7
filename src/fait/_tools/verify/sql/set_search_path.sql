-- set_search_path: resolve unqualified names in this schema until the end of the transaction.
-- In:   ? schema
-- Out:  schema
SELECT set_config('search_path', CAST(? AS text), true);
