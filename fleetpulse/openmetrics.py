"""Reads metrics pages line by line: Prometheus' text format 0.0.4 and OpenMetrics 1.0, strictly.

Grammar as in prometheus/prometheus, model/textparse (promlex.l, openmetricslex.l), names in quotes
(`{"a.b",x="y"} 1`) included. Two liberties: lines may end in \\r\\n, and OpenMetrics' fractional
timestamps are rounded, not cut, to milliseconds.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

from fleetpulse.model import METRIC_NAME, Labels, Metadata, MetricType

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = r'(?:([a-zA-Z_][a-zA-Z0-9_]*)|"((?:[^"\\]|\\.)*)")'
_LABEL_VALUE = r'="((?:[^"\\]|\\.)*)"'
_ESCAPE = re.compile(r'\\([\\"n])')
_NUMBER = re.compile(
    rb"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf(?:inity)?))|(?i:nan)"
)
_EXCERPT = 100  # characters of a broken line that its error shows
_LAST_MS = 2**63 - 1
_TYPES = {name: name for name in get_args(MetricType)}
# The label whose value is a number written in many ways, by the type that has it.
NUMERIC_LABEL = {"histogram": "le", "summary": "quantile"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the two formats do differently."""

    name: str
    gap: "re.Pattern[str]"  # white space that may stand between the parts of a line
    spaces: bytes  # the same, as characters
    label: "re.Pattern[str]"
    label_value: "re.Pattern[str]"
    comma: "re.Pattern[str]"
    tail: "re.Pattern[str]"  # value, timestamp, exemplar
    types: dict[str, MetricType]
    read_time: Callable[[bytes], int]
    exemplars: bool


def _milliseconds(raw: bytes) -> int:
    if not raw.isdigit():
        raise ValueError("a timestamp is a whole number of milliseconds")
    return _fitting(int(raw))


def _seconds(raw: bytes) -> int:
    milliseconds = read_value(raw) * 1000
    if not math.isfinite(milliseconds):
        raise ValueError("a timestamp is a number of seconds")
    return _fitting(round(milliseconds))


def _fitting(time_ms: int) -> int:
    if abs(time_ms) > _LAST_MS:
        raise ValueError("a timestamp fits in 64 bits")
    return time_ms


TEXT = Dialect(
    name="text format",
    gap=re.compile(r"[ \t]*"),
    spaces=b" \t",
    label=re.compile(rf"[ \t]*{_LABEL}[ \t]*"),
    label_value=re.compile(_LABEL_VALUE.replace("=", r"=[ \t]*") + r"[ \t]*"),
    comma=re.compile(r",?[ \t]*"),  # as in Prometheus, it may be missing
    tail=re.compile(r"[ \t]*([^{ \t]+)(?:[ \t]+([^ \t]+))?()[ \t]*"),
    types={name: name for name in ("counter", "gauge", "histogram", "summary", "untyped")},
    read_time=_milliseconds,
    exemplars=False,
)
OPENMETRICS = Dialect(
    name="OpenMetrics",
    gap=re.compile(""),
    spaces=b"",
    label=re.compile(_LABEL),
    label_value=re.compile(_LABEL_VALUE),
    comma=re.compile(r",|(?=\})"),
    tail=re.compile(r" ([^ ]+)(?: ([^ #][^ ]*))?(?: # (\{.*))?"),
    types={**_TYPES, "unknown": "untyped"},
    read_time=_seconds,
    exemplars=True,
)


@dataclass(frozen=True, slots=True)
class SampleLine:
    """One sample as written.

    labels keep empty values. prefix is what precedes the value, less spaces.
    """

    labels: Labels
    value: float
    time_ms: int | None
    prefix: bytes


def read_value(raw: bytes) -> float:
    """A value as Go's ParseFloat takes it: no underscores, no overflow. ValueError otherwise."""
    if _NUMBER.fullmatch(raw) is None:
        raise ValueError("no number")
    value = float(raw)
    if math.isinf(value) and b"n" not in raw.lower():
        raise ValueError("a number too large")
    return value


def read_sample(line: bytes, dialect: Dialect, type_of: str = "untyped") -> SampleLine:
    """One line that is neither empty nor a comment; ValueError says what is wrong with it.

    type_of is the type of the metric family, by which `le` and `quantile` are written in one way.
    """
    text = _decode(line.removesuffix(b"\r"))
    start = _gap(dialect, text, 0)
    name = _NAME.match(text, start)
    pairs = [(METRIC_NAME, name[0])] if name else []
    at = _gap(dialect, text, name.end() if name else start)
    if text[at : at + 1] == "{":
        at = _read_labels(text, at + 1, dialect, pairs, named=name is not None)
    labels = _label_set(pairs, text, type_of)
    tail = dialect.tail.fullmatch(text, at)
    if tail is None:
        raise ValueError(f"expected a value after the series in {_excerpt(text)}")
    value = _value(tail[1], text)
    if tail[3]:
        _check_exemplar(tail[3], dialect, text)
    prefix = text[: tail.start(1)].rstrip().encode()
    return SampleLine(labels, value, _time(tail[2], dialect, text), prefix)


def _gap(dialect: Dialect, text: str, at: int) -> int:
    found = dialect.gap.match(text, at)
    return found.end() if found else at


def _decode(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as err:
        raise ValueError(f"not UTF-8 at byte {err.start + 1}") from None


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…")


def _value(raw: str, text: str) -> float:
    try:
        return read_value(raw.encode())
    except ValueError as err:
        raise ValueError(f"{_excerpt(raw)} is {err}, in {_excerpt(text)}") from None


def _time(raw: str | None, dialect: Dialect, text: str) -> int | None:
    if raw is None:
        return None
    try:
        return dialect.read_time(raw.encode())
    except ValueError:
        raise ValueError(f"{_excerpt(raw)} is no timestamp, in {_excerpt(text)}") from None


def _read_labels(
    text: str, at: int, dialect: Dialect, pairs: list[tuple[str, str]], *, named: bool
) -> int:
    """Adds the labels from within the braces to pairs; returns the place after the brace."""
    at = _gap(dialect, text, at)
    while text[at : at + 1] != "}":
        label = dialect.label.match(text, at)
        if label is None:
            raise ValueError(f"expected a label name or }} at {_excerpt(text[at:])}")
        at = label.end()
        quoted = label[2] is not None
        if quoted and text[at : at + 1] in (",", "}"):
            if named:
                raise ValueError(f"a second metric name, in {_excerpt(text)}")
            named = True
            pairs.append((METRIC_NAME, _unescape(label[2])))
        else:
            value = dialect.label_value.match(text, at)
            if value is None:
                raise ValueError(f'expected ="value" at {_excerpt(text[at:])}')
            at = value.end()
            pairs.append((_unescape(label[2]) if quoted else label[1], _unescape(value[1])))
        comma = dialect.comma.match(text, at)
        if comma is None:
            raise ValueError(f"expected a comma or }} at {_excerpt(text[at:])}")
        at = comma.end()
    if not named:
        raise ValueError(f"no metric name, in {_excerpt(text)}")
    return at + 1


def _unescape(text: str) -> str:
    """Undoes \\\\, \\" and \\n; any other backslash stands for itself."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


def _label_set(pairs: list[tuple[str, str]], text: str, type_of: str) -> Labels:
    if not pairs:
        raise ValueError(f"expected a metric name at {_excerpt(text)}")
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        raise ValueError(f"a label is there twice, in {_excerpt(text)}")
    if "" in names or not pairs[0][1]:
        raise ValueError(f"an empty name, in {_excerpt(text)}")
    numeric = NUMERIC_LABEL.get(type_of)
    if numeric in names:
        pairs = [(name, number_text(value) if name == numeric else value) for name, value in pairs]
    return Labels(sorted(pairs))


def _check_exemplar(text: str, dialect: Dialect, line: str) -> None:
    """Exemplars are not kept, but a broken one breaks the page."""
    at = _read_labels(text, 1, dialect, [], named=True)
    tail = dialect.tail.fullmatch(text, at)
    if tail is None or tail[3]:
        raise ValueError(f"broken exemplar, in {_excerpt(line)}")
    _value(tail[1], line)
    _time(tail[2], dialect, line)


def number_text(text: str) -> str:
    """A bucket bound or quantile as OpenMetrics' canonical number, so that all clients' agree.

    1 and 1.000 become 1.0, 1000000 becomes 1e+06 (Go's %g and at least one decimal).
    """
    try:
        value = read_value(text.encode())
    except ValueError:
        return text
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    mantissa, exponent = _shortest(value)
    if -4 <= exponent < 6 or value == 0:
        plain = f"{value:.{max(1, len(mantissa) - 1 - exponent)}f}"
        return plain if value else "0.0"
    digits = mantissa[0] + ("." + mantissa[1:] if len(mantissa) > 1 else "")
    return f"{'-' if value < 0 else ''}{digits}e{exponent:+03d}"


def _shortest(value: float) -> tuple[str, int]:
    """The fewest digits that tell value from its neighbours, and the first one's power of ten."""
    for precision in range(17):
        text = f"{abs(value):.{precision}e}"
        if float(text) == abs(value):
            break
    mantissa, _, exponent = text.partition("e")
    return mantissa.replace(".", ""), int(exponent)


class MetadataReader:
    """Takes the comment lines of one page and keeps what they say of its metrics."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.metadata: dict[str, Metadata] = {}
        self.type = "untyped"  # of the family whose lines come now
        self.ended = False  # an OpenMetrics page's `# EOF` was seen

    def read(self, line: bytes) -> None:
        """One line that starts with #. ValueError says what is wrong with it."""
        text = _decode(line.removesuffix(b"\r"))
        if self._dialect.exemplars:
            self._read_openmetrics(text)
            return
        words = text[1:].split(None, 1)
        if text[1:2] in (" ", "\t") and len(words) == 2 and words[0] in ("HELP", "TYPE"):
            self._note(words[0], words[1], text)

    def _read_openmetrics(self, text: str) -> None:
        if text == "# EOF":
            self.ended = True
            return
        keyword, _, rest = text[2:].partition(" ")
        if text[:2] != "# " or keyword not in ("HELP", "TYPE", "UNIT") or not rest:
            raise ValueError(f"expected HELP, TYPE, UNIT or EOF after '# ' in {_excerpt(text)}")
        self._note(keyword, rest, text)

    def _note(self, keyword: str, rest: str, line: str) -> None:
        name, text = self._family(rest, line)
        known = self.metadata.get(name, Metadata())
        if keyword == "TYPE":
            kind = self._dialect.types.get(text.strip())
            if kind is None:
                raise ValueError(f"{_excerpt(text)} is no metric type, in {_excerpt(line)}")
            self.type = kind
            known = replace(known, type=kind)
        elif keyword == "HELP":
            known = replace(known, help=_unescape(text))
        elif text and not name.endswith("_" + text):
            raise ValueError(f"the unit is no suffix of the name, in {_excerpt(line)}")
        else:
            known = replace(known, unit=text)
        self.metadata[name] = known

    def _family(self, rest: str, line: str) -> tuple[str, str]:
        """The metric name, quoted or not, and what comes after it."""
        found = _NAME.match(rest)
        name, end = (found[0], found.end()) if found else ("", 0)
        if not found and (quoted := re.match(r'"((?:[^"\\]|\\.)+)"', rest)):
            name, end = _unescape(quoted[1]), quoted.end()
        if not name or rest[end : end + 1] not in ("", " ", "\t"):
            raise ValueError(f"expected a metric name in {_excerpt(line)}")
        return name, rest[end:].lstrip(" \t")
