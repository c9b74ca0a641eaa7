-- notify: tell all who listen.
-- In:   $1 channel · $2 word
-- Out:  nothing
SELECT pg_notify($1, $2);
