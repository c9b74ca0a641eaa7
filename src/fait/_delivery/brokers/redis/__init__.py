"""Redis Streams. A lane is a stream; a publication is one script, which also compares and stores the position."""
