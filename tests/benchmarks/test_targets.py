"""What is said to be reached was measured to be."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree as ET

import pytest

from benchmarks import kept
from benchmarks.curves import CURVES, curve
from benchmarks.document import document, drawings
from benchmarks.idle import Idle
from benchmarks.long import Window
from benchmarks.options import arguments
from benchmarks.report import Measurement
from benchmarks.start import IMPORTED, Start
from benchmarks.targets import Measured, Target, table, targets

T = TypeVar("T")
TEXT = "".join(
    f"{name} before\n<!-- {name}: written by `python -m benchmarks.document` -->\nold\n<!-- end of {name} -->\n"
    for name in ("targets", "figures")
)


def filled(of: type[T], value: float, /, **changed: Any) -> T:
    """A row with the same figure everywhere."""
    words = {"kind": "unbroken", "shape": "no delay", "round": 1}
    found = {field.name: words.get(field.name, value) for field in fields(of)}  # type: ignore[arg-type]
    return of(**{**found, **changed})


def turns(kind: str, value: float, **changed: Any) -> Measurement:
    where: dict[str, Any] = {"shape": "no delay", "tokens": 64, "sessions": 100, **changed}
    return filled(Measurement, value, kind=kind, **where)


def window(mark: int, value: float, **changed: Any) -> Window:
    return filled(Window, value, mark=mark, tokens=64, **changed)


def found_in(measured: Measured, number: int, name: str) -> Target:
    """The one target of this number whose name begins so."""
    (heading,) = [figures for heading, figures in targets(measured) if heading.startswith(f"{number}.")]
    (target,) = [one for one in heading if one.name.startswith(name)]
    return target


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        pytest.param([], "–", id="not measured"),
        pytest.param([1.0, 2.0], "yes", id="at the limit"),
        pytest.param([1.0, 1.5, 2.5], "yes, not in every round", id="the median"),
        pytest.param([1.0, 2.5, 2.6], "**no**", id="one lucky round"),
    ],
)
def test_a_target_is_reached_if_its_median_is(values: list[float], reached: str) -> None:
    assert Target("", 2.0, values).reached == reached
    assert Target("", None, [-value for value in values], least=-2.0).reached == reached
    assert Target("", None, values).reached == "–"


def test_throughput_is_compared_with_each_baseline_within_a_round() -> None:
    rounds = [
        *(turns(kind, 100.0) for kind in ("direct-memory", "direct-exit")),
        turns("unbroken", 150.0),
        turns("direct-memory", 10.0, round=2),
        turns("unbroken", 13.0, round=2),
        turns("unbroken", 900.0, sessions=10),
    ]
    measured = Measured(turns=rounds)
    assert found_in(measured, 1, "÷ direct-memory's, stretch").values == [1.5, 1.3]
    assert found_in(measured, 1, "÷ direct-exit's").values == [1.5]
    assert found_in(measured, 1, "÷ direct-postgres's").values == []
    assert found_in(measured, 2, "100 sessions, p50").values == [1.5, 1.3]


def test_the_first_token_s_difference_may_be_negative_and_is_in_milliseconds() -> None:
    measured = Measured(turns=[turns("direct-memory", 3.0, sessions=1), turns("unbroken", 2.5, sessions=1)])
    target = found_in(measured, 2, "one session, p50 after")
    assert (target.values, target.asked, target.measured, target.reached) == ([-0.5], "≤ 1 ms", "-0.50 ms", "yes")


def test_bytes_are_held_against_those_of_direct_exit_and_the_rows_that_it_has_not() -> None:
    ours = turns("unbroken", 0.0, wal_bytes=3000.0, wal_record_bytes=1500.0, rows_bytes=1000.0)
    measured = Measured(turns=[turns("direct-exit", 0.0, wal_bytes=3000.0, wal_record_bytes=500.0), ours])
    one = next(one for one in targets(measured) if one[0].startswith("3."))[1]
    found = {target.name: target.values for target in one if "100 sessions" in target.name and "÷" in target.name}
    assert list(found.values()) == [[0.75], [1.0]]


def test_growth_is_of_one_conversation_from_turn_5_to_turn_500() -> None:
    windows = [window(5, 2.0), window(100, 20.0), window(500, 30.0), window(5, 2.0, round=2)]
    measured = Measured(long=windows)
    assert found_in(measured, 4, "server's CPU").values == [15.0]
    assert found_in(measured, 4, "rows of checkpoints").values == [1.5]


def test_idle_sockets_are_compared_with_direct_ones_and_latency_with_being_alone() -> None:
    rows = [
        filled(Idle, 20.0, kind="direct-memory", sockets=5000),
        filled(Idle, 10.0, sockets=0),
        filled(Idle, 15.0, sockets=5000),
    ]
    measured = Measured(idle=rows)
    assert found_in(measured, 5, "memory each at 5,000, ÷").values == [0.75]
    assert found_in(measured, 5, "turn p95").values == [1.5]


def test_a_start_is_what_comes_beyond_its_imports() -> None:
    started = filled(Start, 0.0, ready_s=3.5, imports_s=1.75)
    assert found_in(Measured(start=[started]), 7, "beyond its imports, database").values == [1.75]
    shown = "import time:       120 |        240 |   json.decoder\nimport time: self [us] | cumulative | x\nready\n"
    assert IMPORTED.findall(shown) == ["json.decoder"]


def test_the_table_tells_every_target_even_where_nothing_was_measured() -> None:
    lines = list(table(Measured()))
    assert len({line.count("|") for line in lines}) == 1
    assert sum("**" in line for line in lines) == 7
    assert not any("yes" in line or "no**" in line for line in lines)


@dataclass(frozen=True)
class Row:
    name: str
    figure: float

    @property
    def cell(self) -> str:
        return self.name


def test_a_cell_measured_again_replaces_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    assert kept.rows(path, Row) == []
    assert kept.origins(path, Row) == []
    kept.add(path, Row, [Row("a", 1.0), Row("b", 2.0000001), Row("a", 3.0)])
    kept.add(path, Row, [Row("a", 4.0)])
    assert kept.rows(path, Row) == [Row("b", 2.0), Row("a", 4.0)]
    assert all(origin.startswith(kept.commit()) for origin in kept.origins(path, Row))
    path.write_text(path.read_text("utf-8").replace('"figure"', '"other"'), "utf-8")
    assert kept.rows(path, Row) == []
    path.write_text(path.read_text("utf-8").replace('"other"', '"figure"'), "utf-8")
    assert sum('"b"' in line for line in path.read_text("utf-8").splitlines()) == 1


def test_a_document_is_written_between_its_marks_and_nowhere_else(tmp_path: Path) -> None:
    empty = document(TEXT, tmp_path)
    assert "old" not in empty
    assert "Not measured yet." in empty
    kept.add(tmp_path / "start.json", Start, [filled(Start, 1.25)])
    written = document(empty, tmp_path)
    assert "| unbroken | 1.25 |" in written
    assert document(written, tmp_path) == written
    assert [line for line in written.splitlines() if "before" in line] == ["targets before", "figures before"]
    with pytest.raises(ValueError, match="figures"):
        document(TEXT.partition("figures before")[0], tmp_path)


@pytest.mark.parametrize("name", sorted(CURVES))
def test_a_curve_has_a_line_a_server_that_rises_with_its_figures(name: str, tmp_path: Path) -> None:
    found = [
        window(mark, value, kind=kind) for kind in ("unbroken", "direct-exit") for mark, value in ((5, 1), (500, 9))
    ]
    title, figure = CURVES[name]
    drawn = ET.fromstring(curve(title, found, figure))
    lines = [line.attrib["points"].split() for line in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines) == 2
    (x_early, y_early), (x_late, y_late) = (map(float, point.split(",")) for point in lines[0])
    assert x_early < x_late
    assert y_early > y_late
    kept.add(tmp_path / "long.json", Window, found)
    assert f"{name}-64" in drawings(tmp_path)


def test_a_full_run_has_every_part_and_cell_and_a_part_can_be_had_alone() -> None:
    full, one = arguments(["--full"]), arguments(["long", "--rounds", "1"])
    assert full.parts == ["turns", "long", "idle", "start", "replicas", "hop"]
    assert (full.rounds, full.sessions) == (5, [1, 10, 100, 1000])
    assert (full.tokens, full.shapes) == ([64, 8], ["no delay", "streaming"])
    assert (one.parts, one.rounds) == (["long"], 1)
    assert arguments([]).parts == ["turns", "start"]
    assert replace(window(5, 1.0), tokens=8).cell == ("unbroken", 8)
