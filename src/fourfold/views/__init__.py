"""What pages show: data and charts, one page per file; for the server, and for files that people send each other."""
