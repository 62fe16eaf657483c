"""Regular expressions as Prometheus has them: RE2, so that none takes exponential time."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

import re2

# A reference in a replacement. Go takes the longest run of word characters as the name.
_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.dot_nl = True  # Prometheus matches label values with (?s)
_OPTIONS.max_mem = 8 << 20
# Each may come to take all of that.
_REMEMBERED = 128


class Match(Protocol):
    def group(self, key: int | str = 0, /) -> str | None: ...
    def groups(self) -> tuple[str | None, ...]: ...
    def groupdict(self) -> dict[str, str | None]: ...
    def span(self, key: int | str = 0, /) -> tuple[int, int]: ...


class Pattern(Protocol):
    def fullmatch(self, text: str, /) -> Match | None: ...
    def search(self, text: str, /) -> Match | None: ...
    def finditer(self, text: str, /) -> Iterator[Match]: ...


@lru_cache(maxsize=_REMEMBERED)
def compile_pattern(pattern: str) -> Pattern:
    """The compiled pattern; ValueError says what is wrong with it. Use fullmatch() to anchor."""
    try:
        compiled: Pattern = re2.compile(pattern, _OPTIONS)
    except re2.error as err:
        detail = err.args[0] if err.args else err
        text = detail.decode() if isinstance(detail, bytes) else str(detail)
        raise ValueError(f"{pattern!r} is no regular expression: {text}") from err
    return compiled


def expand(match: Match, template: str) -> str:
    """template with $1, ${1}, $name and ${name} filled in as Go's Regexp.Expand does; $$ is $.

    A reference to a group that does not exist or did not take part becomes an empty string.
    """
    return _REFERENCE.sub(lambda ref: _resolve(match, ref), template)


def _resolve(match: Match, reference: "re.Match[str]") -> str:
    if reference[0] == "$$":
        return "$"
    key = reference[1] or reference[2]
    try:
        return match.group(int(key) if key.isdigit() else key) or ""
    except (IndexError, KeyError, re2.error):
        return ""
