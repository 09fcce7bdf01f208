"""What images cost: price tables, and the arithmetic of costs."""
