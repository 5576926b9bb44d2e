"""Bugs that real systems of this kind have had, seeded one at a time into a copy of the tree: who notices?

    use_cases.py, turns.py, readers.py, rules.py, memory.py, statements.py, edges.py, clients.py
                        the catalogue, written by people who had not read the tests
    layers.py           what may notice: the simulation first, then one suite after another
    run.py              a copy, a bug, a verdict

`make mutants`; verdicts are kept in .mutants/, so that a second call goes on.
"""
