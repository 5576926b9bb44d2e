"""Laws of the client's reducer, in both languages."""
