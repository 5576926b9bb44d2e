"""Clients that mean harm, or are merely broken: whatever they send, they are answered by the protocol's word, nobody
else notices, and nothing of them stays.

    python -m tests.hostile --frames 10_000_000     through codec and sessions, in one process and virtual time
    python -m tests.hostile.sockets --minutes 30    over real sockets, against a server process
    python -m tests.hostile.coverage --minutes 10   inputs that reach new lines of the codec are kept and varied
"""
