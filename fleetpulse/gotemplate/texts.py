"""Text to text, as Go's library does it: escapes, capitals, regular expressions."""

import html as python_html
import re
from collections.abc import Callable

from fleetpulse.gotemplate.printing import MAX_TEXT
from fleetpulse.regex import Pattern, compile_pattern, expand

_JS_SPECIAL = re.compile(r"""[\\'"<>&=\x00-\x1f]|[^\x00-\x7f]""")
# A word in the way of Unicode: it goes on behind a mark between two letters or two digits.
_WORD = re.compile(r"\w+(?:(?:(?<=[^\W\d_])[.:'’](?=[^\W\d_])|(?<=\d)[.,'](?=\d))\w+)*")


def html(text: str) -> str:
    """Safe between tags and in quoted attributes."""
    return python_html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def js(text: str) -> str:
    """Safe within a string in quotes of JavaScript."""
    return _JS_SPECIAL.sub(lambda found: _js_escape(found[0]), text)


def _js_escape(char: str) -> str:
    if char in "\\'\"":
        return f"\\{char}"
    return char if char > "\x7f" and char.isprintable() else f"\\u{ord(char):04X}"


def upper(text: str) -> str:
    return _each(str.upper, text)


def lower(text: str) -> str:
    return _each(str.lower, text)


def _each(change: Callable[[str], str], text: str) -> str:
    """Letter by letter, as Go does it: ß has no capital of one letter, and stays."""
    if text.isascii():
        return change(text)
    return "".join(new if len(new := change(char)) == 1 else char for char in text)


def title(text: str) -> str:
    """strings.Title: a capital behind all that is no letter, digit or _; the rest as it is."""
    out, inside = [], False
    for char in text:
        out.append(char if inside else char.title())
        inside = char.isalnum() or char == "_" or (not char.isascii() and not char.isspace())
    return "".join(out)


def title_only(text: str) -> str:
    """cases.Title: every word's first letter is a capital, and no other."""
    return _WORD.sub(lambda found: _title_word(found[0]), text)


def _title_word(word: str) -> str:
    first = next((at for at, char in enumerate(word) if char.isalpha()), len(word))
    return word[:first] + word[first : first + 1].title() + lower(word[first + 1 :])


def match(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


def replace_all(pattern: str, replacement: str, text: str) -> str:
    """Go's ReplaceAllString: $1 and ${1} filled in; no empty match right behind another match."""
    out, at, length = [], 0, 0
    last_end = -1
    for found in _compiled(pattern).finditer(text):
        start, end = found.span()
        if start == end == last_end:
            continue
        out += [text[at:start], expand(found, replacement)]
        at = last_end = end
        length += len(out[-1]) + len(out[-2])
        if length > MAX_TEXT:
            raise ValueError("the replaced text is too long")
    return "".join(out) + text[at:]


def _compiled(pattern: str) -> Pattern:
    """The pattern as Go's regexp has it: unlike that of a matcher, its dot ends at the line."""
    compile_pattern(pattern)  # what is wrong is told of the pattern as it was written
    return compile_pattern(f"(?-s){pattern}")
