"""What only PostgreSQL has: locks, migrations, connections that break, and rows that anybody can read."""
