"""Agents that tests serve: what they say follows from what they were given, so any mix-up is visible."""
