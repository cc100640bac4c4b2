"""The fault benchmark: replays of two pipelines with one fault at a time, and what fourfold says about each."""
