"""What durability costs: the direct send three ways, and ours, in one interleaved run on one PostgreSQL."""
