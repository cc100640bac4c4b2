"""Counts as numbers to judge: what each series shows in each bucket, with its sampling noise."""
