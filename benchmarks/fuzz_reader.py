"""Reads made-up pages, whole and broken ones, and looks for crashes, hangs and disagreements.

Each page is read by read_page, by a PageReader that has not seen it, by one that has, and by
prometheus_client's parser: for OpenMetrics the strict one, for the text format the lax one. What
both take must hold the same samples. What prometheus_client alone takes is asked of promtool, at
most --ask pages of it: there Prometheus has the last word, and a page that promtool takes and the
reader does not is a find. So is what the readers do not agree on, any exception but
ExpositionError, and a page that takes longer than a second.

The same seed makes the same pages. Exit code 1 where anything was found.

Usage: fuzz_reader.py [PAGES] [--seed N] [--ask N] [--processes N]
"""

import argparse
import math
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.parser import text_string_to_metric_families as lax

from fleetpulse.errors import ExpositionError
from fleetpulse.exposition import PageReader, Reading, read_page
from fleetpulse.model import Labels
from fleetpulse.openmetrics import number_text

Samples = dict[tuple[Labels, int], bytes]
_HANG = 1.0  # seconds a page may take
_AT_MS = 7  # of samples without a time of their own; no page has this one
# promtool's own reader takes a negative timestamp of the text format; Prometheus' scrape does not.
_NEGATIVE = re.compile(r"'-\d+' is no timestamp")
_KEPT = 5  # pages shown of each kind of find

_NAMES = ["a", "a_total", "b_seconds", "h_bucket", "h_sum", "h_count", "h", "s", "up", "a:b", "_x"]
_QUOTED = ['"a.b"', '"ä"', '"with space"', '"q\\"q"', '"back\\\\slash"', '"n\\nl"', '""']
_LABELS = ["x", "y", "le", "quantile", "_z", "__name__", "job"]
_VALUES = ["", "v", "ä☃", " ", "\\n", "\\\\", '\\"', "\\d", "}", "{", ",", "=", "# ", "0.5", "1 2"]
_VALUES += ["+Inf", "1", "1.0", "\t", "😀", "a\\\\\\\\b", "# EOF", "trailing\\\\"]
_NUMBERS = ["0", "1", "-1", "1.5", "+2", "1e3", "1E-3", ".5", "5.", "NaN", "nan", "+Inf", "-Inf"]
_NUMBERS += ["inf", "Infinity", "1e308", "123456789012345678", "0.1"]
_ODD_NUMBERS = ["1_0", "0x1f", "1e999", "-nan", "+NaN", "", "one", "٣", "1,5", "1e", "--1", "iNf"]
_TYPES = ["counter", "gauge", "histogram", "summary", "untyped", "unknown", "info", "stateset"]
_TOKENS = [
    '"',
    "\\",
    "{",
    "}",
    ",",
    "=",
    " ",
    "\t",
    "#",
    "\n",
    "\r",
    "\0",
    "_",
    "1",
    "a",
    "# EOF\n",
]
_TOKENS += [
    "\ufeff",
    "\x85",
    "\u2028",
    "\u00a0",
    "\x0b",
    "\x0c",
    "é",
    "# TYPE ",
    "# HELP a ",
    " # ",
]


class Maker:
    """Pages by chance: by the grammar, with the odd thing in them, and some broken afterwards."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def page(self) -> tuple[bytes, bool]:
        """A page and whether it is OpenMetrics."""
        chance = self._random
        openmetrics = chance.random() < 0.4
        lines = [self._line(openmetrics) for _ in range(chance.randint(1, 6))]
        if openmetrics and chance.random() < 0.95:
            lines.append("# EOF")
        end = "\r\n" if chance.random() < 0.02 else "\n"
        body = (end.join(lines) + ("" if chance.random() < 0.1 else end)).encode()
        while chance.random() < 0.35:
            body = self._broken(body)
        return body, openmetrics

    def with_other_values(self, body: bytes) -> bytes:
        """The page as the same target may give it the next time, or nearly so."""
        chance = self._random
        if chance.random() < 0.2:
            return self._broken(body)
        lines = body.split(b"\n")
        place = chance.randrange(len(lines))
        before, space, _ = lines[place].rpartition(b" ")
        if space and not lines[place].startswith(b"#"):
            lines[place] = before + space + self._number().encode()
        return b"\n".join(lines)

    def _line(self, openmetrics: bool) -> str:
        chance, roll = self._random, self._random.random()
        if roll < 0.12:
            return f"# TYPE {self._family()} {chance.choice(_TYPES)}"
        if roll < 0.2:
            return f"# HELP {self._family()} {chance.choice(_VALUES)}"
        if roll < 0.23:
            name = chance.choice(_NAMES)
            return f"# UNIT {name} {name.rpartition('_')[2]}"
        if roll < 0.25 and not openmetrics:
            return chance.choice(["", " ", "#", "# a comment", "#TYPE a b", "\t"])
        return self._sample(openmetrics)

    def _family(self) -> str:
        return self._random.choice(_QUOTED if self._random.random() < 0.1 else _NAMES)

    def _sample(self, openmetrics: bool) -> str:
        chance = self._random
        gap = " " if openmetrics or chance.random() < 0.9 else chance.choice(["\t", "  ", " \t "])
        text = self._series(gap if gap != " " else "") + gap + self._number()
        if chance.random() < 0.2:
            times = ["1", "0", "1700000000", "1700000000.123", "-5", "-1.5", "1e3", "1700000000123"]
            text += gap + chance.choice(times)
        if openmetrics and chance.random() < 0.1:
            text += f" # {self._labels('')} {self._number()}"
            text += chance.choice(["", " 5", " 5.5"])
        return text

    def _series(self, gap: str) -> str:
        chance = self._random
        if chance.random() < 0.1:
            inner = self._labels(gap)[1:-1]
            name = chance.choice(_QUOTED)
            return "{" + name + ("," + inner if inner else "") + "}"
        name = chance.choice(_NAMES)
        return name if chance.random() < 0.3 else name + gap + self._labels(gap)

    def _labels(self, gap: str) -> str:
        chance = self._random
        names = [
            chance.choice(_QUOTED if chance.random() < 0.07 else _LABELS)
            for _ in range(chance.choice([0, 1, 1, 2, 3]))
        ]
        if chance.random() < 0.95:
            names = list(dict.fromkeys(names))
        pairs = [f'{gap}{name}{gap}={gap}"{self._value()}"{gap}' for name in names]
        comma = "," if pairs and chance.random() < 0.1 else ""
        return "{" + ",".join(pairs) + comma + "}"

    def _value(self) -> str:
        return "".join(self._random.choice(_VALUES) for _ in range(self._random.choice([0, 1, 2])))

    def _number(self) -> str:
        return self._random.choice(_ODD_NUMBERS if self._random.random() < 0.03 else _NUMBERS)

    def _broken(self, body: bytes) -> bytes:
        chance = self._random
        at = chance.randint(0, len(body))
        kind = chance.randrange(6)
        if kind == 0:
            return body[:at] + chance.choice(_TOKENS).encode() + body[at:]
        if kind == 1:
            return body[:at] + body[at + chance.randint(1, 3) :]
        if kind == 2:
            return body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
        if kind == 3:
            return body[:at]
        if kind == 4:
            other = chance.randint(0, len(body))
            return body[:at] + body[min(at, other) : max(at, other)] + body[at:]
        lines = body.split(b"\n")
        chance.shuffle(lines)
        return b"\n".join(lines)


@dataclass
class Finds:
    """What was looked for and seen, by kind, with a few pages of each."""

    counts: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    pages: dict[str, list[bytes]] = field(default_factory=dict)
    to_ask: list[tuple[str, bytes, bool]] = field(default_factory=list)

    def add(self, kind: str, body: bytes) -> None:
        self.found[kind] += 1
        shown = self.pages.setdefault(kind, [])
        if len(shown) < _KEPT:
            shown.append(body)

    def join(self, other: "Finds") -> None:
        self.counts += other.counts
        self.found += other.found
        self.to_ask += other.to_ask
        for kind, pages in other.pages.items():
            self.pages[kind] = (self.pages.get(kind, []) + pages)[:_KEPT]


class HangError(Exception):
    """A page that takes too long."""


def _hang(_signal: int, _frame: object) -> None:
    raise HangError


class Fuzz:
    """Reads pages in all ways and compares."""

    def __init__(self, seed: int, ask: int) -> None:
        self._maker, self._ask = Maker(seed), ask
        self._shared = PageReader(
            Labels.from_pairs
        )  # remembers what came before, as a scraper's does
        self.finds = Finds()

    def run(self, pages: int) -> None:
        signal.signal(signal.SIGALRM, _hang)
        for _ in range(pages):
            body, openmetrics = self._maker.page()
            last = self._guarded(body, None, openmetrics)
            if last is not None:  # the same target, the next time
                self._guarded(self._maker.with_other_values(body), last, openmetrics)

    def _guarded(self, body: bytes, last: Reading | None, openmetrics: bool) -> Reading | None:
        signal.setitimer(signal.ITIMER_REAL, _HANG)
        try:
            return self._one(body, last, openmetrics)
        except HangError:
            self.finds.add("hang", body)
        except Exception as err:  # noqa: BLE001 - what this is looking for
            self.finds.add(f"crash: {type(err).__name__}: {err}"[:120], body)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return None

    def _one(self, body: bytes, last: Reading | None, openmetrics: bool) -> Reading | None:
        ours, error, line = self._read(body, openmetrics)
        self.finds.counts["taken" if ours is not None else "refused"] += 1
        reading = self._with(PageReader(Labels.from_pairs), body, None, openmetrics, ours)
        if reading is not None:  # the very page again
            self._with(self._shared, body, reading, openmetrics, ours)
        reading = self._with(self._shared, body, last, openmetrics, ours)
        self._compare(body, openmetrics, ours, error, line)
        return reading

    def _compare(
        self, body: bytes, openmetrics: bool, ours: Samples | None, error: str, line: int
    ) -> None:
        theirs = client(body, openmetrics)
        if theirs is None:
            return
        self.finds.counts["taken by prometheus_client"] += 1
        if ours is not None:
            if canonical(ours, openmetrics) != canonical(theirs, openmetrics):
                self.finds.add("other samples than prometheus_client's", body)
        elif not _NEGATIVE.match(error) or openmetrics:
            self.finds.counts["taken by prometheus_client alone"] += 1
            if len(self.finds.to_ask) < self._ask:
                self.finds.to_ask.append((error, self._asked(body, line, openmetrics), openmetrics))

    @staticmethod
    def _asked(body: bytes, line: int, openmetrics: bool) -> bytes:
        """What promtool is asked: it wants a time of each OpenMetrics sample, so that one alone."""
        lines = body.split(b"\n")
        if not openmetrics or line >= len(lines):
            return body
        return lines[line - 1] + b"\n# EOF\n"

    def _read(self, body: bytes, openmetrics: bool) -> tuple[Samples | None, str, int]:
        try:
            page = read_page(body, at_ms=_AT_MS, openmetrics=openmetrics)
        except ExpositionError as err:
            return None, str(err).partition(": ")[2], err.line
        times = page.times_ms
        pairs = zip(page.lines, page.values, strict=True)
        return (
            {
                (line, times[place] if times else _AT_MS): struct.pack("<d", value)
                for place, (line, value) in enumerate(pairs)
            },
            "",
            0,
        )

    def _with(
        self,
        reader: PageReader,
        body: bytes,
        last: Reading | None,
        openmetrics: bool,
        expected: Samples | None,
    ) -> Reading | None:
        try:
            reading = reader.read(body, last, openmetrics=openmetrics)
        except ExpositionError:
            if expected is not None:
                self.finds.add("refused by PageReader alone", body)
            return None
        if expected is None:
            self.finds.add("taken by PageReader alone", body)
        elif readings(reading) != expected:
            self.finds.add("PageReader reads other samples", body)
        return reading


def readings(reading: Reading) -> Samples:
    own = reading.own_times or [None] * len(reading.values)
    pairs = zip(reading.shape.layout.lines, own, reading.values, strict=True)
    found: Samples = {}
    samples = [*pairs, *((line, time_ms, value) for line, value, time_ms in reading.again)]
    for line, time_ms, value in samples:
        found.setdefault(
            (Labels.from_pairs(line), _AT_MS if time_ms is None else time_ms),
            struct.pack("<d", value),
        )
    return found


def client(body: bytes, openmetrics: bool) -> Samples | None:
    """What prometheus_client takes, or None. Whatever it raises is its way to refuse."""
    found: Samples = {}
    try:
        for family in (strict if openmetrics else lax)(body.decode()):
            for sample in family.samples:
                at = _AT_MS if sample.timestamp is None else round(float(sample.timestamp) * 1000)
                labels = Labels.of({**sample.labels, "__name__": sample.name})
                found.setdefault((labels, at), struct.pack("<d", float(sample.value)))
    except HangError:
        raise
    except Exception:  # noqa: BLE001 - AttributeError and the like included
        return None
    return found


def canonical(samples: Samples, openmetrics: bool) -> dict[tuple[Labels, int], bytes]:
    """Samples with what both may write differently written in one way.

    Bounds as numbers are; in the text format counters without _total, which prometheus_client adds;
    times as it has them, which is in seconds as floating point; -0, which it reads as an int, as 0.
    """
    found: dict[tuple[Labels, int], bytes] = {}
    for (labels, time_ms), value in samples.items():
        pairs = sorted((name, _plain(name, text, openmetrics)) for name, text in labels)
        number = struct.unpack("<d", value)[0]
        place = Labels(pairs), round(time_ms / 1000 * 1000)
        found.setdefault(place, b"NaN" if math.isnan(number) else struct.pack("<d", number + 0.0))
    return found


def _plain(name: str, value: str, openmetrics: bool) -> str:
    if name in ("le", "quantile"):
        return number_text(value)
    return value.removesuffix("_total") if name == "__name__" and not openmetrics else value


def promtool_takes(body: bytes, openmetrics: bool) -> bool | None:
    """Whether Prometheus' own parser takes the page; None where it says nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        if openmetrics:
            path = Path(folder, "page")
            path.write_bytes(body)
            out = Path(folder, "out")
            command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", path, out]
        else:
            command = ["promtool", "check", "metrics"]
        result = subprocess.run(command, input=body, capture_output=True, timeout=20, check=False)
    said = (result.stderr + result.stdout).decode(errors="replace")
    if openmetrics:
        return None if "expected timestamp" in said else result.returncode == 0
    return "error while linting" not in said and "text format parsing error" not in said


def _work(job: tuple[int, int, int]) -> Finds:
    seed, pages, ask = job
    fuzz = Fuzz(seed, ask)
    fuzz.run(pages)
    return fuzz.finds


def jobs(pages: int, seed: int, ask: int) -> Iterator[tuple[int, int, int]]:
    """Parts of 10,000 pages: the same ones, however many processes share them."""
    for part in range(-(-pages // 10_000)):
        yield seed * 1_000_003 + part, min(10_000, pages - part * 10_000), ask


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("pages", type=int, nargs="?", default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ask", type=int, default=200, help="pages that promtool is asked about")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    finds, began = Finds(), time.monotonic()
    parts = list(jobs(options.pages, options.seed, options.ask))
    with get_context("spawn").Pool(options.processes) as pool:
        for part in pool.imap(_work, parts):
            finds.join(part)
    took = time.monotonic() - began
    print(f"{options.pages:,} pages in {took:.0f} s, {options.pages / took:,.0f} a second")
    for name, count in sorted(finds.counts.items()):
        print(f"{count:10,} {name}")
    if shutil.which("promtool") is None:
        print("promtool is not installed: nobody says who is right about these")
    else:
        _ask(finds, options.ask)
    for kind, count in finds.found.most_common():
        print(f"FOUND {count} x {kind}")
        for body in finds.pages[kind]:
            print(f"      {body!r}")
    return 1 if finds.found else 0


def _ask(finds: Finds, most: int) -> None:
    """Of each kind of error as many as of any other, so that none is left out."""
    turns: Counter[str] = Counter()
    ordered = []
    for error, body, openmetrics in finds.to_ask:
        kind = error.partition(" in ")[0].partition(" at ")[0]
        kind = kind if "'" not in kind else kind[: kind.index("'")]
        turns[kind] += 1
        ordered.append((turns[kind], error, body, openmetrics))
    ordered.sort(key=lambda one: one[0])
    for _, error, body, openmetrics in ordered[:most]:
        takes = promtool_takes(body, openmetrics)
        answer = {True: "takes", False: "refuses", None: "cannot tell of"}[takes]
        finds.counts[answer] += 1
        if takes is not False:
            finds.add(f"promtool {answer} it, the reader says: {error}"[:150], body)
    for answer in ("takes", "refuses", "cannot tell of"):
        print(f"{finds.counts[answer]:10,} of these promtool {answer}")


if __name__ == "__main__":
    sys.exit(main())
