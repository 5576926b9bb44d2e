"""Decides from the outside whether a history kept the promise: from what clients sent and saw, and the final tables.

    history.py   what a history is: traces of sockets, tables, violations
    stored.py    laws of the tables alone                          I1 I2 I3 I4, rule 5
    socket_laws.py  laws of one socket, frame by frame             I3 I6 I8, rules 4 to 7 and 10
    agreement.py laws between sockets, and with the tables         I1 I2 I6 I7 I8
    sources.py   tables from PostgreSQL or a memory store

Written from docs/protocol.md and the invariants alone; imports nothing of the product but, in sources.py, its store.
"""
