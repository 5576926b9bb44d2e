"""Pure entities and decisions: no I/O, no clock, no framework."""
