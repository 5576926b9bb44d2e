"""Every instrument, in one place: name, unit, and labels from lists that operators, not users, make longer.

What counts troubles is there from the start, at nought: an alert can only see a rise from something.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import Histogram, Meter

from unbroken.adapters.telemetry import names

SECONDS: Final = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0]


class Instruments:
    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, what: str) -> Histogram:
            return meter.create_histogram(name, "s", what, explicit_bucket_boundaries_advisory=SECONDS)

        self.accept = seconds("unbroken.accept.duration", "From a request at the use case's door to its receipt")
        self.commit = seconds("unbroken.commit.duration", "One fenced transaction of a turn")
        self.wait = seconds("unbroken.queue.wait", "From the acceptance of an event to its first attempt")
        self.first_token = seconds("unbroken.turn.time_to_first_token", "From an event's acceptance to its first text")
        self.turn = seconds("unbroken.turn.duration", "From the acceptance of an event to its durable end")
        self.attempts = meter.create_counter("unbroken.attempts", "{attempt}", "Attempts that ended, by how")
        self.fencings = meter.create_counter(
            "unbroken.fencing.rejections", "{rejection}", "Commits refused because the session had moved on"
        )
        self.poisoned = meter.create_counter("unbroken.poisoned", "{message}", "Messages given up for good")
        self.effects = meter.create_counter("unbroken.effects", "{effect}", "Tries at executing an effect, by outcome")
        self.deliveries = meter.create_counter(
            "unbroken.deliveries", "{delivery}", "Entries of the log written to a socket"
        )
        self.acknowledgements = meter.create_counter(
            "unbroken.acknowledgements", "{acknowledgement}", "Entries of the log that a client has acknowledged"
        )
        self.resumes = meter.create_counter("unbroken.resumes", "{resume}", "Sockets opened, by where they go on")
        self.tokens = meter.create_counter("unbroken.model.tokens", "{token}", "Tokens that models reported")
        self.sockets = meter.create_up_down_counter("unbroken.sockets", "{socket}", "Sockets that follow a session")
        self.streams = meter.create_up_down_counter("unbroken.streams", "{stream}", "Attempts that an agent works on")
        self._at_nought()

    def _at_nought(self) -> None:
        self.fencings.add(0)
        self.poisoned.add(0)
        self.acknowledgements.add(0)
        self.deliveries.add(0, {names.KIND: "send_message"})
        self.sockets.add(0)
        self.streams.add(0)
        for kind in ("input", "output"):
            self.tokens.add(0, {names.USAGE: kind})
        for kind in ("fresh", "log", "stream", "gap"):
            self.resumes.add(0, {names.KIND: kind})
        for outcome in ("completed", "retried", "dead_letter"):
            self.effects.add(0, {names.KIND: "schedule_timer", names.OUTCOME: outcome})
