"""Seeded bugs in the client's side of the protocol."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

REDUCER: Final = "entrypoints/client/reducer.py"
TURN: Final = "entrypoints/client/turn.py"

CLIENTS: Final = (
    Mutant(
        name="client_skips_what_is_missing",
        what="A durable frame whose predecessor never came is presented all the same: what lies between is gone, and "
        "the next connection begins behind it.",
        seen_in="a consumer that stored the highest number it had seen",
        edits=(
            Edit(
                REDUCER,
                "        elif self.cursor is None or cursor == self.cursor + 1:\n",
                "        elif self.cursor is None or cursor > self.cursor:\n",
            ),
        ),
    ),
    Mutant(
        name="client_gap_is_not_read",
        what="What a gap left out is never asked for: the client goes on as if it had seen it.",
        seen_in="a chat that reconnected to the newest message and left a hole above it",
        edits=(
            Edit(
                REDUCER,
                ' if frame["cursor"] > after else None\n',
                " if False else None\n",
            ),
        ),
    ),
    Mutant(
        name="client_retry_appends_to_shown_text",
        what="A reset begins to count anew and keeps what is shown: until the end comes, two attempts are one text.",
        seen_in="a page whose stream handler only ever appended",
        edits=(
            Edit(
                TURN,
                '        self._show("")\n        self.tools = []\n',
                "        self.length = 0\n        self.tools = []\n",
            ),
        ),
    ),
    Mutant(
        name="client_former_attempt_goes_on_writing",
        what="Tokens of an attempt that has been replaced are taken where their offset happens to fit.",
        seen_in="a page that knew its streams by message and not by try",
        edits=(
            Edit(
                TURN,
                "        if self.ended or attempt < self.attempt:\n            return True\n",
                "        if self.ended:\n            return True\n",
            ),
        ),
    ),
    Mutant(
        name="client_appends_wherever_it_is_told",
        what="A token's offset is not compared with the text: what comes twice after a reconnect stands there twice.",
        seen_in="a resumed event stream that overlapped with what had been shown",
        edits=(
            Edit(
                TURN,
                "        if offset != self.length:\n            self.out_of_step = True\n            return False\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="client_counts_code_points",
        what="The client says where it stands in characters, and the server reads UTF-16 units: behind the first emoji "
        "it is out of step at each token.",
        seen_in="a second client, in a language whose strings count otherwise",
        edits=(
            Edit(
                TURN,
                '    return len(text) + sum(character > "\\uffff" for character in text)\n',
                "    return len(text)\n",
            ),
        ),
    ),
)
