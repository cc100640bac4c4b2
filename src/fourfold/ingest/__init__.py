"""The only writer: takes sent messages into the log, and counts new records."""
