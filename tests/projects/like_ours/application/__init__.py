"""A user's own application."""

NAME = "my application"
