"""Answers to questions from the counts; nothing here writes."""
