"""Reports: one question about a store per file."""
