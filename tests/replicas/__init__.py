"""Several replicas as real processes over one PostgreSQL and a real NATS server, and what can go wrong between them.

python -m tests.replicas --minutes 20 --bus nats     300 conversations under faults of every kind
python -m tests.replicas.rolling --times 3           all replicas restarted one after another, under load
python -m tests.replicas.partition                   a replica in a network namespace of its own, packets vanish

place.py        the processes, and a cuttable proxy on each way between them
provider.py     the model's provider: what it was asked for, by whom, and what it said
people.py       who talks, from replica to replica, each frame of it written down
nemesis.py      what goes wrong
verdict.py      the checker's, conversation by conversation
sights.py       how long clients waited, and what for
namespaces.py   a network namespace and its cables
"""
