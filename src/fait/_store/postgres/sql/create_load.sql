-- create_load: where COPY puts events before they are appended; of this session alone, and empty after each transaction.
-- In:   nothing
-- Out:  nothing
CREATE TEMPORARY TABLE IF NOT EXISTS fait_load_1 (
    write_no integer          NOT NULL,
    place    integer          NOT NULL,
    id       uuid             NOT NULL,
    type     text COLLATE "C" NOT NULL,
    schema   integer          NOT NULL,
    data     json             NOT NULL,
    metadata json             NOT NULL,
    tags     text[],
    occurred timestamptz
) ON COMMIT DELETE ROWS;
