-- enter_handler_transaction: let unqualified names mean the schema's tables first, and bound how long the transaction may stand idle.
-- In:   $1 schema, quoted · $2 milliseconds
-- Out:  nothing of interest; both settings end with the transaction
-- Plan: none
SELECT
    set_config('search_path', concat_ws(', ', $1::text, nullif(current_setting('search_path'), '')), true),
    set_config('idle_in_transaction_session_timeout', $2, true);
