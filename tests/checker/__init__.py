"""Decides from the outside whether a history kept the promise: from what clients sent and saw, what a model's provider
would bill, which faults there were, and the final tables.

    history.py      what a history is: traces of sockets, tables, calls, faults, violations
    threads.py      the rows and connections of each thread, indexed once
    stored.py       laws of the tables alone                          I1 I2 I3 I4, rules 5 and 8
    socket_laws.py  laws of one socket, frame by frame                I3 I6 I8 I12, rules 4 to 7 and 10
    agreement.py    laws between sockets, and with the tables         I1 I2 I6 I7, rule 9
    acks.py         what was acknowledged                             rule 9
    legacy.py       a client of the old protocol                      I8, rule 10
    texts.py        what was shown of one attempt, and its end        I6
    spoken.py       what was shown and stored, and what the agent said    I6 I7, rule 5
    prompt.py       what is said is shown while it is said    rule 4
    cancels.py      cancels, on one socket and in the tables          I9, rule 8
    provider.py     what a turn leaves to the next request            I9
    timers.py       timers                                            I10
    strangers.py    who does not own a thread                         I11
    busy.py         what a message does to unfinished ones            whenBusy
    bounds.py       queues and rows                                   I12
    settled.py      what must be over when all is over                I13
    attempts.py     how often an event was tried, and why             I14
    sources.py      tables from PostgreSQL or a memory store

Written from docs/protocol.md and the invariants alone; imports nothing of the product but, in sources.py, its store,
and in model_rules.py what it takes for a message's text. I5 is not a law of its own here: a write under a stale epoch
shows itself as a second end, a lost message or a torn log.
"""
