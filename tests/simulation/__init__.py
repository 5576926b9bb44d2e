"""The whole service under a seed: replicas and clients in one process, with virtual time and every kind of trouble.

    loop.py      actors, the order in which their steps run, and time
    database.py  the memory store behind a network: what can happen to a call
    network.py   sockets with latency, cuts and silence;  hints.py  wakeups that get lost
    agent.py     an agent that does what a plan says;     plans.py  what users and agents are going to do
    overheard.py  what an agent says, written down
    replica.py   one process's life;                      client.py  a user's device, with a reducer of its own
    nemesis.py   faults, aimed at states of a turn;       states.py  which state a turn is in
    world.py     one seed from beginning to verdict;      volume.py  many seeds, their progress and sum
    settled.py   whether everything has its end;          complaints.py  what was logged as a defect
    real_agent.py  LangGraph itself in the place of the planned agent

`python -m tests.simulation --help`. One seed: `python -m tests.simulation --seed 17 --verbose`.
"""
