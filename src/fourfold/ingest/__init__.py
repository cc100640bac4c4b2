"""The only writer: takes what was sent into the log, and counts what is new."""
