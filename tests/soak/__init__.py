"""People talk for a long time, things go wrong at random, and nothing may grow or get slower.

`python -m tests.soak --minutes 30`
"""
