-- create_bulk_table: create the temporary table that COPY fills before fait_append_bulk_1 is called. It belongs to the
-- session and is empty after each transaction.
-- In:   nothing
-- Out:  nothing
CREATE TEMPORARY TABLE IF NOT EXISTS fait_append_bulk_1 (
    write_no       integer          NOT NULL,
    event_no       integer          NOT NULL,
    id             uuid             NOT NULL,
    type           text COLLATE "C" NOT NULL,
    schema_version integer          NOT NULL,
    data           json             NOT NULL,
    metadata       json             NOT NULL,
    tags           text[],
    occurred_at    timestamptz
) ON COMMIT DELETE ROWS;
