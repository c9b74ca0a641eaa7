-- notify: tell all who listen. A word need not outlive a crash, so its transaction, and no other, does not wait for the disk.
-- In:   $1 channel · $2 word
-- Out:  nothing
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2);
