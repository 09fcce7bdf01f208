"""Values to bytes and back: pure, without an event loop, a clock or files."""
