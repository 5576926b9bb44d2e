"""What one process gives by itself: its clocks, and hints that never leave it."""
