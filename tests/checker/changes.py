"""Ways of breaking a story's traces."""

from __future__ import annotations

from tests.checker.story import Change, Story, find, place


def gone(trace: str, kind: str, **fields: object) -> Change:
    def change(story: Story) -> None:
        lines = getattr(story, trace)
        del lines[place(lines, kind, **fields)]

    return change


def changed(trace: str, kind: str, changes: dict[str, object], **fields: object) -> Change:
    return lambda story: find(getattr(story, trace), kind, **fields).update(changes)


def inserted(trace: str, line: dict[str, object], kind: str, *, behind: int = 0, **fields: object) -> Change:
    """A line put before the frame found, or `behind` it."""

    def change(story: Story) -> None:
        lines = getattr(story, trace)
        lines.insert(place(lines, kind, **fields) + behind, line)

    return change


def resumes_at(offset: int) -> Change:
    return lambda story: story.tab[8]["query"].update(offset=str(offset))


def swapped(trace: str, kind: str, **fields: object) -> Change:
    """A frame that comes before its predecessor."""

    def change(story: Story) -> None:
        lines = getattr(story, trace)
        index = place(lines, kind, **fields)
        lines[index - 1], lines[index] = lines[index], lines[index - 1]

    return change


def assert_flagged(law: str, phrase: str, change: Change) -> None:
    """The changed story breaks `law`, and the violation says so in these words."""
    story = Story()
    change(story)
    found = story.check()
    assert [v for v in found if v.law == law and phrase in v.what], [f"{v.law} {v.what}" for v in found]
    assert all(violation.thread_id == "t" for violation in found)
