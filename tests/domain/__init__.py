"""Laws of the pure decisions."""
