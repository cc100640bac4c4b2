"""Benchmarks: side by side with the alternatives in one run, reported as ratios."""
