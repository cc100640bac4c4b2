"""Tests: statements of behaviour."""
