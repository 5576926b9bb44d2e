"""Ten million frames through codec and sessions: storms one after another, each from its own seed.

python -m tests.hostile --frames 10_000_000 --from-seed 1 --record
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import sys
import time
from array import array
from collections.abc import Sequence
from typing import Final

import psutil

from tests.figures import Figure, commit, record
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
        self._samples = array("d")
        """Three numbers after each storm. Not objects, whose number is one of them."""
        self._frames = frames
        self._per_storm = per_storm
        self._began = self._told = time.monotonic()
        self._process = psutil.Process()

    @property
    def resident(self) -> list[Sample]:
        """Bytes of this process after each storm, by millions of frames."""
        return list(zip(self._samples[::3], self._samples[1::3], strict=True))

    @property
    def blocks(self) -> list[Sample]:
        """The same in objects that Python holds: they tell of a leak long before the system does."""
        return list(zip(self._samples[::3], self._samples[2::3], strict=True))

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
        gc.collect()
        _give_back()
        held = (self.tally.frames / 1e6, self._process.memory_info().rss, sys.getallocatedblocks())
        self._samples.extend(held)

    def _tell(self) -> None:
        self._told = time.monotonic()
        frames = self.tally.frames
        _say(
            f"{frames:>12,} frames {frames / self.took_s:>7,.0f}/s  next seed {self.seed}  "
            f"{self._samples[-2] / 2**20:.1f} MiB  {self._samples[-1]:,.0f} blocks"
        )


def _give_back() -> None:
    """What the C library keeps free for later is nobody's: give it back to the system before its share is measured."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _say(text: str) -> None:
    print(text, flush=True)


def _interval(found: Slope, unit: str, scale: float = 1.0) -> str:
    low, high = found.low / scale, found.high / scale
    return f"{found.value / scale:+.2f} {unit} (95 % interval {low:+.2f} to {high:+.2f}, {found.blocks} blocks)"


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every storm was weathered. 1: one was not; what it takes to see it again is on the screen."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--from-seed", type=int, default=1)
    parser.add_argument("--storm", type=int, default=STORM, help="frames of one storm, so of one seed")
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    given = parser.parse_args(arguments)
    logging.getLogger("unbroken").setLevel(logging.ERROR)  # refusals by the thousand are no news here
    run = Run(frames=given.frames, from_seed=given.from_seed, per_storm=given.storm)
    try:
        run.to_the_end()
    except Failed as failed:
        _say(str(failed))
        return 1
    _summarise(run, given.from_seed, keep=given.record)
    return 0


def _summarise(run: Run, from_seed: int, *, keep: bool) -> None:
    tally, resident, blocks = run.tally, slope(run.resident), slope(run.blocks)
    _say(f"{tally.frames:,} frames over {tally.sockets:,} sockets in {run.took_s:,.0f} s: nothing unhandled")
    _say(f"answers that well-behaved clients got meanwhile: {tally.answers:,}, each in its order")
    _say(f"refusals: {dict(tally.refusals.most_common())}")
    _say(f"closes: {dict(tally.closes.most_common())}")
    _say(f"sent to attackers: {dict(tally.heard.most_common())}")
    _say(f"memory: {_interval(resident, 'KiB a million frames', 1024)}")
    _say(f"objects: {_interval(blocks, 'blocks a million frames')}")
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
            "resident_mib": round(run.resident[-1][1] / 2**20, 1),
            "slope_kib_per_million": round(resident.value / 1024, 2),
            "slope_low": round(resident.low / 1024, 2),
            "slope_high": round(resident.high / 1024, 2),
            "slope_blocks_per_million": round(blocks.value, 2),
            "flat": resident.flat,
        }
        record("fuzzed frames", figures)


if __name__ == "__main__":
    sys.exit(main())
