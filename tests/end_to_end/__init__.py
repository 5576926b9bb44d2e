"""The whole program as a person starts it."""
