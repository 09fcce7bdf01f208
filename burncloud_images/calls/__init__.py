"""One call and many calls: each attempt, and what comes of it."""
