"""Calls: their attempts, their results, and many of them at once."""
