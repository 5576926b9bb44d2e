"""Bugs that real systems of this kind have had, seeded one at a time into a copy of the tree: who notices?

    use_cases.py, turns.py, readers.py, rules.py, memory.py, statements.py, edges.py, clients.py
                        the catalogue, written by people who had not read the tests
    layers.py           what may notice: the simulation, and one suite after another
    tree.py             a copy with a bug in it;  run.py  who notices it
    verdicts.py         what became of each, and how it is told

`make mutants`; what each layer said is kept in .mutants/, so that a second call goes on.
"""
