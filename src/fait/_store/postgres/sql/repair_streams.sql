-- repair_streams: raise the version of each stream to that of its last event. Requires lock_log.
-- In:   nothing
-- Out:  nothing
-- Plan: HashAggregate over all events
INSERT INTO {schema}.fait_streams AS s (stream, version, recorded_at, expected)
SELECT stream, max(version), max(recorded_at), -1 FROM {schema}.fait_all_events GROUP BY stream
ON CONFLICT (stream) DO UPDATE
    SET version = excluded.version, recorded_at = greatest(s.recorded_at, excluded.recorded_at)
    WHERE s.version < excluded.version;
