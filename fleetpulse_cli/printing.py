"""Text of others on a terminal."""

from typing import TextIO


def printable(text: str) -> str:
    """On one line, and nothing in it that steers a terminal: labels are what targets write."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def width(out: TextIO) -> int | None:
    # Into a pipe nothing is folded: lines are for grep there.
    return None if out.isatty() else 1_000
