-- enter_handler_transaction: resolve unqualified names in the schema first, and limit the idle time of the transaction.
-- In:   $1 schema, quoted · $2 idle timeout in milliseconds
-- Out:  one row without meaning; both settings end with the transaction
-- Plan: none
SELECT
    set_config('search_path', concat_ws(', ', $1::text, nullif(current_setting('search_path'), '')), true),
    set_config('idle_in_transaction_session_timeout', $2, true);
