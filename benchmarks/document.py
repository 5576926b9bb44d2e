"""`python -m benchmarks.document [FOLDER]`: take what was measured into the documents.

Raw figures go to docs/performance/, plots to docs/pictures/, and tables between the marks of docs/performance.md and
docs/scaling.md.
Without a folder, only the tables are written anew.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import kept
from benchmarks.curves import CURVES, curve
from benchmarks.hop import Hop
from benchmarks.idle import Idle
from benchmarks.long import Window
from benchmarks.plots import PLOTS, plot
from benchmarks.replicas import Several
from benchmarks.report import Measurement, row, spread
from benchmarks.report import table as table_of_turns
from benchmarks.servers import KINDS
from benchmarks.start import EMBEDDED, Start
from benchmarks.targets import Measured
from benchmarks.targets import table as table_of_targets

DOCS: Final = kept.ROOT / "docs"
KEPT: Final = DOCS / "performance"
PICTURES: Final = DOCS / "pictures"
DOCUMENT: Final = DOCS / "performance.md"
SCALING: Final = DOCS / "scaling.md"
OF_ONE: Final[dict[str, type[kept.Row]]] = {"turns": Measurement, "long": Window, "idle": Idle, "start": Start}
OF_SEVERAL: Final[dict[str, type[kept.Row]]] = {"replicas": Several, "hop": Hop}

BUS_NAMES: Final = {"nats": "NATS", "postgres": "Postgres hints"}
ORDER: Final = (*KINDS, EMBEDDED)

T = TypeVar("T")
Columns = list[tuple[str, Callable[[T], float], int]]

LONG: Columns[Window] = [
    # title, figure, decimals
    ("server CPU ms", lambda one: one.server_cpu, 2),
    ("Postgres CPU ms", lambda one: one.postgres_cpu, 2),
    ("first token ms", lambda one: one.first_token, 2),
    ("turn ms", lambda one: one.turn, 2),
    ("WAL records", lambda one: one.wal_records, 1),
    ("WAL KB", lambda one: one.wal_bytes / 1024, 1),
    ("of it records", lambda one: one.wal_record_bytes / 1024, 1),
    ("rows", lambda one: one.rows, 0),
    ("of checkpoints", lambda one: one.checkpoint_rows, 0),
    ("stored KB", lambda one: one.stored_kb, 0),
    ("of checkpoints KB", lambda one: one.checkpoint_kb, 0),
    ("on disk KB", lambda one: one.disk_kb, 0),
]
IDLE: Columns[Idle] = [
    ("KB each", lambda one: one.socket_kb, 1),
    ("server CPU ms a second", lambda one: one.server_cpu, 2),
    ("Postgres CPU ms a second", lambda one: one.postgres_cpu, 2),
    ("first token p50 ms", lambda one: one.first_token_p50, 2),
    ("p95", lambda one: one.first_token_p95, 2),
    ("turn p50 ms", lambda one: one.turn_p50, 2),
    ("p95", lambda one: one.turn_p95, 2),
    ("p99", lambda one: one.turn_p99, 2),
]
START: Columns[Start] = [
    ("ready s", lambda one: one.ready_s, 2),
    ("of it imports s", lambda one: one.imports_s, 2),
    ("beyond imports s", lambda one: one.own_s, 2),
    ("CPU until ready s", lambda one: one.ready_cpu_s, 2),
    ("CPU of imports s", lambda one: one.imports_cpu_s, 2),
]
SEVERAL: Columns[Several] = [
    ("turns/s", lambda one: one.turns_per_s, 0),
    ("first token p50 ms", lambda one: one.first_token_p50, 2),
    ("p99", lambda one: one.first_token_p99, 2),
    ("turn p50 ms", lambda one: one.turn_p50, 2),
    ("p99", lambda one: one.turn_p99, 2),
    ("servers' CPU ms a turn", lambda one: one.server_cpu, 2),
    ("Postgres CPU ms a turn", lambda one: one.postgres_cpu, 2),
    ("NATS CPU ms a turn", lambda one: one.broker_cpu, 2),
    ("idle: servers' CPU ms a second", lambda one: one.idle_server_cpu, 2),
    ("Postgres CPU ms a second", lambda one: one.idle_postgres_cpu, 2),
]
HOP: Columns[Hop] = [
    ("later p50 ms", lambda one: one.hop_p50, 2),
    ("p95", lambda one: one.hop_p95, 2),
    ("p99", lambda one: one.hop_p99, 2),
    ("first token p50 ms", lambda one: one.first_token_p50, 2),
    ("seen live %", lambda one: one.live * 100, 0),
    ("frames a turn", lambda one: one.frames, 1),
]


def measured(folder: Path) -> Measured:
    """In the order of reading, whatever order it was measured in."""
    turns = kept.rows(folder / "turns.json", Measurement)
    long = kept.rows(folder / "long.json", Window)
    return Measured(
        sorted(turns, key=lambda one: (one.shape, -one.tokens, one.sessions, ORDER.index(one.kind))),
        sorted(long, key=lambda one: (-one.tokens, ORDER.index(one.kind), one.mark)),
        sorted(kept.rows(folder / "idle.json", Idle), key=lambda one: (ORDER.index(one.kind), one.sockets)),
        sorted(kept.rows(folder / "start.json", Start), key=lambda one: ORDER.index(one.kind)),
    )


def tables(folder: Path) -> Iterator[str]:
    """Markdown: the targets, then all figures."""
    yield from targets(folder)
    yield from figures(folder)
    yield from scaling(folder)


def targets(folder: Path) -> Iterator[str]:
    yield ""
    yield from table_of_targets(measured(folder))
    yield ""
    yield _origins(folder, OF_ONE)
    yield ""


def figures(folder: Path) -> Iterator[str]:
    """Medians over the rounds; in brackets the least and the greatest. What was not measured has no table."""
    found = measured(folder)
    yield ""
    for tokens in dict.fromkeys(one.tokens for one in found.long):
        yield f"### One long conversation, {tokens} tokens a turn\n"
        yield from _table(
            [one for one in found.long if one.tokens == tokens], lambda one: f"{one.kind}, turn {one.mark}", LONG
        )
    if found.idle:
        yield "### Idle sockets\n"
        yield from _table(found.idle, lambda one: f"{one.kind}, {one.sockets:,} idle", IDLE)
    if found.start:
        yield "### Start to ready, warm\n"
        yield from _table(found.start, lambda one: one.kind, START)
    if found.turns:
        yield "### Turns\n"
        yield table_of_turns(found.turns)
        yield ""


def scaling(folder: Path) -> Iterator[str]:
    """What being several costs; medians as above."""
    several = kept.rows(folder / "replicas.json", Several)
    hops = kept.rows(folder / "hop.json", Hop)
    yield ""
    if several:
        several.sort(key=lambda one: (one.bus, one.replicas))
        yield from _table(several, lambda one: f"{one.replicas} × {BUS_NAMES[one.bus]}", SEVERAL)
    if hops:
        yield from _table(sorted(hops, key=lambda one: -len(one.where)), lambda one: f"watched at {one.where}", HOP)
    yield _origins(folder, OF_SEVERAL)
    yield ""


def _origins(folder: Path, parts: Mapping[str, type[kept.Row]]) -> str:
    found = dict.fromkeys(
        origin for part, kind in parts.items() for origin in kept.origins(folder / f"{part}.json", kind)
    )
    return f"Measured at {'; '.join(found)}." if found else "Not measured yet."


def _table(found: Sequence[T], name: Callable[[T], str], columns: Columns[T]) -> Iterator[str]:
    yield row("", [title for title, _, _ in columns])
    yield "|---" * (len(columns) + 1) + "|"
    for title in dict.fromkeys(map(name, found)):
        rounds = [one for one in found if name(one) == title]
        yield row(title, [spread([figure(one) for one in rounds], decimals) for _, figure, decimals in columns])
    yield ""


def pictures(folder: Path) -> Iterator[str]:
    found = measured(folder)
    titles = {name: title for name, (title, _) in PLOTS.items()} if found.turns else {}
    for tokens in dict.fromkeys(one.tokens for one in found.long):
        titles |= {f"{name}-{tokens}": f"{title}, {tokens} tokens" for name, (title, _) in CURVES.items()}
    for name, title in titles.items():
        yield f"![{title}](pictures/performance-{name}.svg)\n"


def drawings(folder: Path) -> dict[str, str]:
    """Name → SVG."""
    found = measured(folder)
    drawn: dict[str, str] = {}
    if found.turns:
        drawn |= {name: plot(title, found.turns, figure) for name, (title, figure) in PLOTS.items()}
    for tokens in dict.fromkeys(one.tokens for one in found.long):
        windows = [one for one in found.long if one.tokens == tokens]
        for name, (title, figure) in CURVES.items():
            drawn[f"{name}-{tokens}"] = curve(f"{title}; {tokens} tokens a turn", windows, figure)
    return drawn


def document(text: str, folder: Path) -> str:
    """docs/performance.md with the tables of today's figures between its marks. Raises ValueError without marks."""
    text = _marked(text, "targets", targets(folder))
    return _marked(text, "figures", chain(figures(folder), pictures(folder)))


def scaling_document(text: str, folder: Path) -> str:
    """The same of docs/scaling.md."""
    return _marked(text, "replicas", scaling(folder))


def _marked(text: str, name: str, lines: Iterator[str]) -> str:
    begin, end = f"<!-- {name}: written by `python -m benchmarks.document` -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the document has no marks of {name}")
    return "\n".join([before + begin, *lines, end]) + after


def take(folder: Path) -> None:
    """Copy raw figures and draw them."""
    KEPT.mkdir(exist_ok=True)
    for part in (*OF_ONE, *OF_SEVERAL):
        if (folder / f"{part}.json").exists():
            shutil.copyfile(folder / f"{part}.json", KEPT / f"{part}.json")
    for name, drawn in drawings(KEPT).items():
        (PICTURES / f"performance-{name}.svg").write_text(drawn, "utf-8")


if __name__ == "__main__":
    for given in sys.argv[1:2]:
        take(Path(given))
    DOCUMENT.write_text(document(DOCUMENT.read_text("utf-8"), KEPT), "utf-8")
    SCALING.write_text(scaling_document(SCALING.read_text("utf-8"), KEPT), "utf-8")
