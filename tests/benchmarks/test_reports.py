from __future__ import annotations

from dataclasses import fields, replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.measure import Counters, LogWritten, log_total
from benchmarks.plots import PLOTS, plot
from benchmarks.report import Measurement, overtaken, quantile_ms, ratios, spread, table
from benchmarks.runs import Run, Setting

SETTING = Setting("no delay", tokens=3, sessions=2, turns=2)


def figures(took_s: float, **changed: Any) -> dict[str, Any]:
    times = {"first_token_s": [0.001, 0.002, 0.003, 0.004], "turn_s": [0.01, 0.02, 0.03, 0.04], "gaps_s": [0.0] * 8}
    timeline = [[0, 0.0, 1.0, 1.1], [1, 0.2, 0.3, 0.4], [1, 0.5, 0.6, 0.7], [0, 1.2, 1.3, 1.4]]
    return {
        "took_s": took_s,
        "cpu_s": 0.5,
        "refused": 3,
        "bytes": 400,
        "frames": 16,
        "timeline": timeline,
        **times,
        **changed,
    }


def ran(counted: Counters, cpu_s: float, **changed: Any) -> Run:
    log = LogWritten(counted.wal_records, counted.wal_bytes // 2, counted.wal_bytes // 2)
    return Run(figures(2.0, **changed), counted, log, cpu_s, cpu_s / 2)


RUN, IDLE = ran(Counters(30, 100, 9, 5000, 11), 0.5), ran(Counters(22, 60, 1, 1000, 3), 0.1)


def measurement(kind: str = "unbroken", number: int = 1, turns_per_s: float = 2.0) -> Measurement:
    return replace(Measurement.of(kind, number, SETTING, RUN, IDLE), turns_per_s=turns_per_s)


def test_costs_are_per_turn_and_without_those_of_an_idle_run() -> None:
    found = measurement()
    assert (found.transactions, found.wal_records, found.wal_full_pages) == (2.0, 10.0, 2.0)
    assert (found.wal_bytes, found.wal_record_bytes, found.wal_syncs) == (1000.0, 500.0, 2.0)
    assert found.server_cpu == pytest.approx(100.0)
    assert found.postgres_cpu == pytest.approx(50.0)
    assert (found.wire_bytes, found.frames, found.idle_transactions) == (100.0, 4.0, 22)
    assert found.turns_per_s == 2.0
    assert (found.load_cpu, found.load_busy, found.overtaken, found.refused) == (125.0, 0.25, 2, 3)


@pytest.mark.parametrize("missing", ["turn_s", "first_token_s"])
def test_a_run_with_a_turn_missing_is_refused(missing: str) -> None:
    with pytest.raises(RuntimeError, match="4 turns"):
        Measurement.of("unbroken", 1, SETTING, ran(IDLE.counted, 1.0, **{missing: [0.1] * 3}), IDLE)


@pytest.mark.parametrize(
    ("timeline", "most"),
    [
        pytest.param([], 0, id="nobody"),
        pytest.param([(0, 0, 1, 2), (1, 0, 1, 2)], 0, id="side by side"),
        pytest.param([(0, 0, 9, 10), (1, 1, 2, 3)], 1, id="one went first"),
        pytest.param([(0, 0, 9, 10), (1, 1, 2, 3), (2, 4, 5, 6)], 1, id="two others went first, once each"),
        pytest.param([(0, 0, 9, 10), (1, 1, 2, 3), (1, 4, 5, 6)], 2, id="one went first twice"),
        pytest.param([(0, 2, 9, 10), (1, 1, 2, 3), (1, 4, 5, 6)], 1, id="one of its turns was asked for before"),
        pytest.param([(0, 0, 5, 10), (1, 1, 2, 3), (1, 4, 5, 6)], 1, id="one of its turns ended after the first token"),
        pytest.param([(0, 0, 1, 2), (0, 3, 4, 5), (0, 6, 7, 8)], 0, id="nobody waits for oneself"),
    ],
)
def test_a_turn_is_overtaken_by_what_was_asked_for_and_answered_while_it_waited(
    timeline: list[tuple[int, float, float, float]], most: int
) -> None:
    assert overtaken(timeline) == overtaken(timeline[::-1]) == most


def test_a_stretch_of_the_log_is_told_with_and_without_whole_pages() -> None:
    shown = (
        "WAL statistics between 0/1 and 0/2:\nType  N  (%)  Record size  (%)  FPI size  (%)  Combined size  (%)\n"
        "Heap      57 ( 93.44)  5190 ( 96.74)  1040 (100.00)  6230 ( 97.27)\n"
        "       --------   --------\n"
        "Total     61           5365 [83.76%]  1040 [16.24%]  6405 [100%]\n"
    )
    assert log_total(shown) == LogWritten(records=61, record_bytes=5365, page_bytes=1040)
    with pytest.raises(RuntimeError, match="no such file"):
        log_total("", "no such file")


def test_a_quantile_is_a_time_that_was_measured() -> None:
    ordered = [number / 1000 for number in range(1, 101)]
    assert [quantile_ms(ordered, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1, 51, 96, 100]


def test_a_ratio_compares_servers_within_a_round_and_leaves_out_rounds_that_lack_one() -> None:
    slow_machine = [measurement("direct-memory", 1, 50.0), measurement("unbroken", 1, 100.0)]
    fast_machine = [measurement("unbroken", 2, 400.0), measurement("direct-memory", 2, 100.0)]
    alone = [measurement("unbroken", 3, 7.0)]
    found = ratios([*slow_machine, *fast_machine, *alone], "unbroken", "direct-memory", lambda one: one.turns_per_s)
    assert found == [2.0, 4.0]


def test_a_spread_is_the_median_between_the_least_and_the_greatest() -> None:
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0–3.0)"
    assert spread([3.0], 1) == "3.0"
    assert spread([], 1) == "–"


def test_the_table_has_a_row_for_each_server_of_each_setting() -> None:
    found = [measurement(kind, 1, turns) for kind, turns in (("direct-memory", 50.0), ("unbroken", 100.0))]
    shown = table([*found, *(replace(one, sessions=9) for one in found)])
    assert shown.count("| unbroken |") == shown.count("| direct-memory |") == 4  # its figures, and its ratios
    assert "**9 sessions, 3 tokens, no delay**" in shown
    widths = {line.count("|") for line in shown.splitlines() if "turns/s |" in line or "| unbroken | 100 |" in line}
    assert len(widths) == 1


@pytest.mark.parametrize("name", sorted(PLOTS))
def test_a_plot_is_well_formed_and_its_bars_are_as_long_as_their_figures(name: str) -> None:
    title, figure = PLOTS[name]
    low = measurement("direct-memory")
    doubled = {one.name: getattr(low, one.name) * 2 for one in fields(low) if isinstance(getattr(low, one.name), float)}
    drawing = ET.fromstring(plot(title, [low, replace(low, kind="unbroken", **doubled)], figure))
    bars = [float(bar.attrib["width"]) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect") if "x" in bar.attrib]
    assert bars[1] == pytest.approx(2 * bars[0], abs=0.2)
