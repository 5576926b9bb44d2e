"""Every store port in this process's memory: the same guarantees, but for survival of the process.

Values are encoded when they are written and decoded when they are read, so no caller shares an object with the
store, and what a database could not hold is refused here too.
"""
