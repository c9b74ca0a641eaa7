-- advance_stream: move a stream's version on, if it is at the expected one.
-- In:   ?1 stream · ?2 number of events · ?3 expected: n >= 0 exactly n, -1 any, -2 exists
-- Out:  the new version; no row = the stream is at another version
-- Plan: SEARCH fait_streams USING PRIMARY KEY (stream=?)
INSERT INTO fait_streams (stream, version)
SELECT ?1, ?2
WHERE ?3 IN (0, -1) OR EXISTS (SELECT 1 FROM fait_streams WHERE stream = ?1)
ON CONFLICT (stream) DO UPDATE SET version = version + excluded.version
WHERE version = ?3 OR ?3 < 0
RETURNING version;
