"""A user's own domain."""

NAME = "my domain"
