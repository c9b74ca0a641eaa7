-- notify: send a notification. It need not survive a crash, so this transaction does not wait for its WAL flush.
-- In:   $1 channel · $2 payload
-- Out:  nothing
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2);
