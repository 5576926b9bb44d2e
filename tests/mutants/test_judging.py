"""What counts as noticed: red, red again alone, and green without the bug."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.mutants import run
from tests.mutants.catalogue import ALL
from tests.mutants.layers import LAYERS, Layer, layers_of
from tests.mutants.run import Answer, Copies, ask
from tests.mutants.verdicts import document, figures, verdict

BUGGED, CLEAN = Path("bugged"), Path("clean")
COPIES = Copies(BUGGED, lambda: CLEAN)
TESTS = Layer("some", tests=(("tests/quick",), ("tests/slow",)))
SEEDS = Layer("simulation", seeds=1_000)
Red = Callable[[Path, Sequence[str]], str | None]


def asked(monkeypatch: pytest.MonkeyPatch, layer: Layer, red: Red, *, seeds: int = 1_000, tried: int = 0) -> Answer:
    monkeypatch.setattr(run, "red", red)
    return ask("a bug", layer, COPIES, seeds=seeds, tried=tried)


def failing(test: str, *, alone: bool = True, clean: bool = False) -> Red:
    """A test that fails in its file's run, by itself too if `alone`, and without the bug if `clean`."""

    def red(tree: Path, command: Sequence[str]) -> str | None:
        if f"--deselect={test}" in command or not any(test.startswith(part) for part in command):
            return None
        if (test in command and not alone) or (tree is CLEAN and not clean):
            return None
        return f"FAILED {test} - AssertionError"

    return red


def test_a_test_that_is_red_again_and_green_without_the_bug_has_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = asked(monkeypatch, TESTS, failing("tests/slow/test_a.py::test_it"))
    assert answer.noticed
    assert answer.how == "FAILED tests/slow/test_a.py::test_it - AssertionError"
    assert answer.seeds == 0


@pytest.mark.parametrize(("alone", "clean"), [(False, False), (True, True)])
def test_one_that_is_red_by_chance_or_without_the_bug_too_has_not(
    monkeypatch: pytest.MonkeyPatch, alone: bool, clean: bool
) -> None:
    assert not asked(monkeypatch, TESTS, failing("tests/quick/test_a.py::test_it", alone=alone, clean=clean)).noticed


def test_the_rest_of_a_layer_is_asked_on_without_a_test_that_failed_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    by_chance = failing("tests/quick/test_a.py::test_chance", alone=False)
    real = failing("tests/quick/test_a.py::test_real")
    answer = asked(monkeypatch, TESTS, lambda tree, command: by_chance(tree, command) or real(tree, command))
    assert answer.how == "FAILED tests/quick/test_a.py::test_real - AssertionError"


def seed(number: int, *, clean: bool = False) -> Red:
    """A seed that finds something, without the bug too if `clean`."""

    def red(tree: Path, command: Sequence[str]) -> str | None:
        if tree is CLEAN and not clean:
            return None
        if "--seed" in command:
            return "a violation" if command[command.index("--seed") + 1] == str(number) else None
        first, count = (int(command[command.index(name) + 1]) for name in ("--from-seed", "--seeds"))
        return f"violations: 1\n  seed {number}: I1" if first <= number < first + count else None

    return red


@pytest.mark.parametrize("number", [0, 99, 100, 731])
def test_a_seed_is_told_by_how_many_it_took(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    answer = asked(monkeypatch, SEEDS, seed(number))
    assert (answer.noticed, answer.seeds, answer.how) == (True, number + 1, f"seed {number}: I1")


def test_a_seed_that_is_red_without_the_bug_has_not_noticed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = asked(monkeypatch, SEEDS, seed(731, clean=True))
    assert (answer.noticed, answer.seeds) == (False, 1_000)


def test_a_survivor_of_some_seeds_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = asked(monkeypatch, SEEDS, seed(731), seeds=700)
    assert (answer.noticed, answer.seeds) == (False, 700)
    assert asked(monkeypatch, SEEDS, seed(3), tried=700).seeds == 1_000
    assert asked(monkeypatch, SEEDS, seed(731), tried=700).seeds == 732


def said(layer: str, *, noticed: bool, seeds: int = 0) -> Answer:
    return Answer("", layer, noticed, "", seeds, 0.0)


def test_only_who_has_faced_every_layer_and_every_seed_has_survived() -> None:
    mutant = next(mutant for mutant in ALL if "simulation" in {layer.name for layer in layers_of(mutant)})
    green = {layer.name: said(layer.name, noticed=False, seeds=layer.seeds) for layer in layers_of(mutant)}
    told = figures([verdict(mutant, green)])
    assert (told["killed"], told["survived"], told["not_judged"]) == (0, mutant.name, "")
    few = green | {"simulation": said("simulation", noticed=False, seeds=LAYERS["simulation"].seeds - 1)}
    told = figures([verdict(mutant, few)])
    assert (told["survived"], told["not_judged"]) == ("", mutant.name)
    killed = few | {"web": said("web", noticed=True)}
    told = figures([verdict(mutant, killed)])
    assert (told["killed"], told["by_layer"], told["survived"], told["not_judged"]) == (1, "web 1", "", "")


def test_the_document_has_a_row_for_each_bug_and_says_who_noticed() -> None:
    mutant = ALL[0]
    text = document([verdict(mutant, {"simulation": said("simulation", noticed=True, seeds=1_234)})])
    assert f"| `{mutant.name}` | {mutant.what} | {mutant.seen_in} | simulation | 1,234 |" in text
