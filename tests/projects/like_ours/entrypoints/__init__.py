"""A user's own entrypoints."""

NAME = "my entrypoints"
