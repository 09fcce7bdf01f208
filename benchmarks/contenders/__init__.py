"""The clients that are measured, each in a module that a fresh process runs."""
