-- health_session: what this role may do in the database, and where its session looks up functions.
-- In:   nothing
-- Out:  whether it may create temporary tables, its search_path with the implicit schemas
SELECT has_database_privilege(current_database(), 'TEMPORARY'), current_schemas(true);
