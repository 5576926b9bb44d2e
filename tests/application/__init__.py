"""Laws of the use cases, over the memory adapter."""
