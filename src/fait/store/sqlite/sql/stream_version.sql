-- stream_version: where a stream is.
-- In:   ?1 stream
-- Out:  its version; no row = no such stream
-- Plan: SEARCH fait_streams USING PRIMARY KEY (stream=?)
SELECT version FROM fait_streams WHERE stream = ?1;
