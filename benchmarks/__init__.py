"""Measures this client beside others; README.md of this folder says how."""
