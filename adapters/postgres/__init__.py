"""Every store in PostgreSQL 15 or later, and the embedded server of the first run."""
