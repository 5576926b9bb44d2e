"""Ten million frames through codec and sessions: storms one after another, each from its own seed.

python -m tests.hostile --frames 10_000_000 --from-seed 1 --record

Memory is measured after each storm, in three ways. What is *in use* tells of a leak, be it ours, the interpreter's or
an extension's: objects of Python's own allocator (blocks of up to 512 bytes), and bytes of the C library's (everything
else). What the system calls *resident* is that and the holes in between: neither allocator moves what it has once
handed out, so a process at rest keeps up to as much as it needed at its busiest.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.figures import Figure, commit, record
from tests.hostile.in_use import Memory, measured
from tests.hostile.slope import Sample, Slope, slope
from tests.hostile.storm import Failed, storm
from tests.hostile.tally import Tally

STORM: Final = 10_000
TOLD_S: Final = 10.0


class Run:
    def __init__(self, *, frames: int, from_seed: int, per_storm: int) -> None:
        self.tally = Tally()
        self.seed = from_seed
        self.commit = commit()
        """What is measured, whatever is committed meanwhile."""
        self._samples = array("d", [0.0]) * (4 * (2 * frames // per_storm + 1))
        """Four numbers for each storm. Neither objects nor growing: it would find itself."""
        self._storms = 0
        self._frames = frames
        self._per_storm = per_storm
        self._began = self._told = time.monotonic()

    @property
    def memory(self) -> Memory[list[Sample]]:
        """After each storm, by millions of frames."""
        taken = self._samples[: 4 * self._storms]
        millions, resident, c_bytes, blocks = (taken[number::4] for number in range(4))
        return Memory(*(list(zip(millions, kind, strict=True)) for kind in (resident, c_bytes, blocks)))

    @property
    def took_s(self) -> float:
        return time.monotonic() - self._began

    def to_the_end(self) -> None:
        """Raises Failed at the first storm that is not weathered."""
        while self.tally.frames < self._frames:
            self.tally.add(storm(self.seed, self._per_storm))
            self.seed += 1
            self._sample()
            if time.monotonic() - self._told > TOLD_S:
                self._tell()

    def _sample(self) -> None:
        now, at = measured(), 4 * self._storms
        self._samples[at : at + 4] = array("d", (self.tally.frames / 1e6, now.resident, now.c_bytes, now.blocks))
        self._storms += 1

    def _tell(self) -> None:
        self._told = time.monotonic()
        frames = self.tally.frames
        _, resident, c_bytes, blocks = self._samples[4 * self._storms - 4 : 4 * self._storms]
        _say(
            f"{frames:>12,} frames {frames / self.took_s:>7,.0f}/s  next seed {self.seed}  {resident / 2**20:.1f} MiB "
            f"resident, in use {c_bytes:,.0f} bytes of the C library's and {blocks:,.0f} blocks of Python's"
        )

    def keep(self, file: Path) -> None:
        """Write the samples down, a storm a line."""
        memory = self.memory
        lines = [
            f"{millions:.6f} {resident:.0f} {c_bytes:.0f} {blocks:.0f}\n"
            for (millions, resident), (_, c_bytes), (_, blocks) in zip(
                memory.resident, memory.c_bytes, memory.blocks, strict=True
            )
        ]
        file.write_text("millions_of_frames resident_bytes c_bytes blocks\n" + "".join(lines), "utf-8")


def _say(text: str) -> None:
    print(text, flush=True)


def _interval(found: Slope, unit: str, scale: float = 1.0) -> str:
    low, high = found.low / scale, found.high / scale
    return f"{found.value / scale:+.2f} {unit} (95 % interval {low:+.2f} to {high:+.2f})"


def _told(name: str, found: Slope, scale: float = 1.0) -> dict[str, Figure]:
    """The slope, and both ends of its interval."""
    short = name.partition("_per_")[0].removesuffix("_kib")
    return {
        name: round(found.value / scale, 2),
        f"{short}_low": round(found.low / scale, 2),
        f"{short}_high": round(found.high / scale, 2),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every storm was weathered. 1: one was not; what it takes to see it again is on the screen."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--from-seed", type=int, default=1)
    parser.add_argument("--storm", type=int, default=STORM, help="frames of one storm, so of one seed")
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    parser.add_argument("--samples", type=Path, help="a text file for what was measured after each storm")
    given = parser.parse_args(arguments)
    logging.getLogger("unbroken").setLevel(logging.ERROR)  # refusals by the thousand are no news here
    run = Run(frames=given.frames, from_seed=given.from_seed, per_storm=given.storm)
    try:
        run.to_the_end()
    except Failed as failed:
        _say(str(failed))
        return 1
    finally:
        if given.samples:
            run.keep(given.samples)
    _summarise(run, given.from_seed, keep=given.record)
    return 0


def _summarise(run: Run, from_seed: int, *, keep: bool) -> None:
    tally, memory = run.tally, run.memory
    resident, c_bytes, blocks = slope(memory.resident), slope(memory.c_bytes), slope(memory.blocks)
    _say(f"{tally.frames:,} frames over {tally.sockets:,} sockets in {run.took_s:,.0f} s: nothing unhandled")
    _say(f"answers that well-behaved clients got meanwhile: {tally.answers:,}, each in its order")
    _say(f"refusals: {dict(tally.refusals.most_common())}")
    _say(f"closes: {dict(tally.closes.most_common())}")
    _say(f"sent to attackers: {dict(tally.heard.most_common())}")
    _say(f"resident: {_interval(resident, 'KiB a million frames', 1024)}")
    _say(f"in use of the C library: {_interval(c_bytes, 'KiB a million frames', 1024)}")
    _say(f"in use of Python: {_interval(blocks, 'blocks a million frames')}")
    if keep:
        figures: dict[str, Figure] = {
            "commit": run.commit,
            "frames": tally.frames,
            "from_seed": from_seed,
            "seeds": run.seed - from_seed,
            "sockets": tally.sockets,
            "answers_beside": tally.answers,
            "refusals": tally.refusals.total(),
            "took_s": round(run.took_s),
            "resident_mib": round(memory.resident[-1][1] / 2**20, 1),
            **_told("slope_kib_per_million", resident, 1024),
            **_told("slope_c_kib_per_million", c_bytes, 1024),
            **_told("slope_blocks_per_million", blocks),
            "flat": resident.flat and c_bytes.flat and blocks.flat,
        }
        record("fuzzed frames", figures)


if __name__ == "__main__":
    sys.exit(main())
