"""Does a store keep its promises on this very server: processes that write, read and are killed, and who compares."""
