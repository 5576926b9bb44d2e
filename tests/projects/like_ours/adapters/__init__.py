"""A user's own adapters."""

NAME = "my adapters"
