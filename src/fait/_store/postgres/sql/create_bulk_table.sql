-- create_bulk_table: where COPY puts events before they are appended; of this session alone, and empty after each transaction.
-- In:   nothing
-- Out:  nothing
CREATE TEMPORARY TABLE IF NOT EXISTS fait_append_bulk_1 (
    write_no integer          NOT NULL,
    place    integer          NOT NULL,
    id       uuid             NOT NULL,
    type     text COLLATE "C" NOT NULL,
    schema_version   integer          NOT NULL,
    data     json             NOT NULL,
    metadata json             NOT NULL,
    tags     text[],
    occurred timestamptz
) ON COMMIT DELETE ROWS;
