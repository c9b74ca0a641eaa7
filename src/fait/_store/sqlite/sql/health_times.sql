-- health_times: events that were recorded in the future.
-- In:   nothing
-- Out:  the first five positions
SELECT position FROM fait_events WHERE recorded_at > strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+1 minute') ORDER BY position LIMIT 5;
