"""Pipelines instrumented with fourfold, to read and to copy from."""
