"""Use cases: they decide, order or commit something, or they do not exist."""
