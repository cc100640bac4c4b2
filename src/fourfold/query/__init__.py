"""Answers to questions, read off the counts; nothing here writes."""
