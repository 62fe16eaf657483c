"""Go's regular expressions in Python's words."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.settings.patterns import in_python, never_or, pattern, pattern_or_none, whole_name

SAME = [
    pytest.param("^lo$", id="a whole name"),
    pytest.param(r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$", id="the default for disks"),
    pytest.param("(?:a|b)+?(?i:c)(?P<n>d)", id="groups"),
    pytest.param(r"[^a-c\d.]x{2,3}", id="a set"),
    pytest.param("(?<=a)b(?!c)", id="what only Python has stays Python's"),
]


@pytest.mark.parametrize("text", SAME)
def test_what_both_have_stays_as_it_is(text: str) -> None:
    assert in_python(text) == text


TRANSLATED = [
    pytest.param(r"a\z", r"a\Z", id="the end of the text"),
    pytest.param("(?i)^eth", "(?i:^eth)", id="a flag for all"),
    pytest.param("a(?i)b|c", "a(?i:b)|(?i:c)", id="a flag lasts past the bar"),
    pytest.param("(x(?i)y|z)w", "(x(?i:y)|(?i:z))w", id="and ends with its group"),
    pytest.param("(?i)a(?-i)b", "(?i:a(?-i:b))", id="a flag that is taken back"),
    pytest.param("[[:alpha:]_]", "[A-Za-z_]", id="a class by name"),
    pytest.param("[]a]", r"[\]a]", id="a set that begins with its bracket"),
    pytest.param("[+--_-]", r"[+-\-_\-]", id="hyphens in a set"),
    pytest.param("[a[&]", r"[a\[\&]", id="what Python may take for operations on sets"),
    pytest.param(r"\Qa.b\E+\Qc|", r"a\.b+c\|", id="a quotation"),
    pytest.param(r"\x{2f}[\x{61}-z]", "/[a-z]", id="a character by its number"),
    pytest.param("(?<disk>sd)", "(?P<disk>sd)", id="the newer way to name a group"),
]


@pytest.mark.parametrize(("go", "python"), TRANSLATED)
def test_what_python_writes_differently_is_translated(go: str, python: str) -> None:
    assert in_python(go) == python
    pattern(go)


REFUSED = [
    pytest.param("(", "'(' is no regular expression: missing )", id="an open group"),
    pytest.param("[a", "'[a': a set is not closed", id="an open set"),
    pytest.param("a**", "'a**' is no regular expression: multiple repeat", id="repeated twice"),
    pytest.param(r"\pL+", r"\pL is not known here; write the characters", id="a Unicode class"),
    pytest.param(r"[\p{Greek}]", r"\p is not known here", id="one in a set"),
    pytest.param("[[:vowel:]]", "[:vowel:] is not known here", id="no such class"),
    pytest.param("(?U)a+", "(?U) is not known here; write *?", id="ungreedy"),
    pytest.param(r"\C", r"\C is not known here; write .", id="a byte"),
    pytest.param(r"\x{110000}", "is no character", id="no such character"),
    pytest.param(5, "5 is no regular expression; write it in quotes", id="a number"),
]


@pytest.mark.parametrize(("text", "fault"), REFUSED)
def test_what_python_does_not_take_is_said(text: object, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        pattern(text)


MATCHES = [
    pytest.param(pattern("lo"), "flowers", True, id="a pattern is looked for anywhere"),
    pytest.param(pattern(r"^\d$"), "٣", False, id="digits are those of ASCII"),
    pytest.param(whole_name("a|b"), "b", True, id="a whole name, any branch of it"),
    pytest.param(whole_name("a|b"), "bc", False, id="and nothing around it"),
    pytest.param(never_or(""), "a", False, id="an empty ignore list ignores nothing"),
]


@pytest.mark.parametrize(("made", "name", "found"), MATCHES)
def test_matching(made: re.Pattern[str], name: str, found: bool) -> None:
    assert (made.search(name) is not None) is found


def test_an_empty_text_is_no_pattern() -> None:
    assert pattern_or_none("") is pattern_or_none(None) is None
    assert pattern_or_none("a") == pattern("a")


def test_a_fault_in_a_whole_name_shows_what_was_written() -> None:
    with pytest.raises(ValueError, match=r"^'\(' is no regular expression"):
        whole_name("(")


@given(st.text(alphabet=r"ab\QE(){}[]^$|*+?:<>=!Pidm-,x0&~.", max_size=20))
def test_whatever_is_written_is_a_pattern_or_a_fault(text: str) -> None:
    with suppress(ValueError):
        pattern(text)
