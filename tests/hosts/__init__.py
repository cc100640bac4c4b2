"""Programs that log, as servers run them: each request and each task is one record, whose key is given to it."""
