"""One suite of laws over every adapter of a port."""
