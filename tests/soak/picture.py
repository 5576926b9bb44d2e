"""Latencies and memory of a soak over time, as one picture."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import quantiles

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from tests.soak.soak import Outcome

BUCKETS = 60
KINDS = {"accepted_s": "accepted", "first_text_s": "first text", "end_s": "end of the answer"}


def draw(outcome: Outcome, file: Path) -> None:
    """Median and 99th percentile a bucket of time, above the resident memory of the server that is never killed."""
    last_s = max((second for second, _ in outcome.steady_bytes), default=1.0)
    width_s = max(1.0, last_s / BUCKETS)
    figure, (times, memory) = plt.subplots(2, 1, sharex=True, figsize=(9, 6), layout="constrained")
    for field, name in KINDS.items():
        buckets: dict[int, list[float]] = defaultdict(list)
        for latency in outcome.latencies:
            if (value := getattr(latency, field)) is not None:
                buckets[int((latency.said_at - outcome.began_at) / width_s)].append(value * 1000)
        full = sorted(number for number, values in buckets.items() if len(values) > 1)
        minutes = [(number + 0.5) * width_s / 60 for number in full]
        steps = [quantiles(buckets[number], n=100) for number in full]
        (line,) = times.plot(minutes, [step[49] for step in steps], label=f"{name}, median")
        times.plot(minutes, [step[98] for step in steps], ":", color=line.get_color(), label=f"{name}, p99")
    times.set(yscale="log", ylabel="ms from the message on")
    times.legend(fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    times.grid(alpha=0.3)
    memory.plot([second / 60 for second, _ in outcome.steady_bytes], [b / 2**20 for _, b in outcome.steady_bytes])
    memory.set(xlabel="minutes", ylabel="MiB resident", ylim=(0, None))
    memory.grid(alpha=0.3)
    figure.savefig(file)
    plt.close(figure)
