"""Public LangGraph projects, as they are, served by `unbroken serve`: docs/examples.md tells of it."""
