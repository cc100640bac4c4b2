"""The pipelines that are replayed."""
