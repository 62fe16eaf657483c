"""From rows to series: markers before values, windows beside those of the embedded store, plans."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME, STALE_NAN, Labels
from fleetpulse.storage.base import Folded, Hints
from fleetpulse.storage.embedded.tiers import TierParts
from fleetpulse.storage.embedded.windows import DAY_MS, WINDOW_MS, aggregate, increases
from fleetpulse.storage.influx.answer import Part
from fleetpulse.storage.influx.ask import InfluxAsker, Patience
from fleetpulse.storage.influx.config import Influx1Config, InfluxRetention
from fleetpulse.storage.influx.influxql import Place
from fleetpulse.storage.influx.reader import InfluxReader
from fleetpulse.storage.influx.series import SHIFT_MS, add_windows, code_of, samples_of
from tests.http_fakes import FakeHttp, Told
from tests.msgpack_fakes import Answered, answer, packed
from tests.store_fakes import bits

MSGPACK = {"Content-Type": "application/x-msgpack"}
NAN = math.nan
NAME = Matcher(METRIC_NAME, "=", "m")


def part(times: Sequence[int], **columns: Sequence[float]) -> Part:
    arrays = {name: np.array(column, np.float64) for name, column in columns.items()}
    return Part("m", {}, np.array(times, np.int64), arrays)


# A row's value, stale and special, and the sample it is; None: none.
ROWS = [
    pytest.param(1.5, NAN, NAN, 1.5, id="a value"),
    pytest.param(NAN, 1.0, NAN, STALE_NAN, id="a marker"),
    pytest.param(NAN, NAN, code_of("NaN"), math.nan, id="no number"),
    pytest.param(NAN, NAN, code_of("+Inf"), math.inf, id="infinity"),
    pytest.param(NAN, NAN, code_of("-Inf"), -math.inf, id="minus infinity"),
    pytest.param(1.5, 1.0, NAN, STALE_NAN, id="a marker counts before a value"),
    pytest.param(NAN, 1.0, code_of("NaN"), STALE_NAN, id="and before what is no number"),
    pytest.param(1.5, NAN, code_of("+Inf"), math.inf, id="which counts before a value"),
    pytest.param(1.5, 0.0, NAN, 1.5, id="not stale is a value"),
    pytest.param(NAN, NAN, NAN, None, id="nothing"),
    pytest.param(NAN, NAN, code_of("else"), None, id="a text of somebody else's"),
]


@pytest.mark.parametrize(("value", "stale", "special", "wanted"), ROWS)
def test_which_field_counts(
    value: float, stale: float, special: float, wanted: float | None
) -> None:
    found = samples_of(part([5, 6], value=[value, 2.0], stale=[stale, NAN], special=[special, NAN]))
    assert found is not None
    assert bits(found.values.tolist()) == bits([2.0] if wanted is None else [wanted, 2.0])


def test_a_measurement_without_our_field_has_no_samples() -> None:
    assert samples_of(part([5], usage=[1.0])) is None
    assert samples_of(part([5], value=[NAN])) is None


# --------------------------------------------------------------------------- windows


@st.composite
def counters(draw: st.DrawFn) -> tuple[list[int], list[float]]:
    """Times and values; in each window it falls once at most, and does not rise beyond where it
    fell from before the window ends.
    """
    times, values, at = list[int](), list[float](), 1000.0
    for window in range(draw(st.integers(1, 8))):
        count = draw(st.integers(0, 5))
        falls = draw(st.integers(0, 9))
        for place in range(count):
            at = float(draw(st.integers(0, 3))) if place == falls else at + draw(st.integers(0, 9))
            times.append(window * WINDOW_MS + 1 + place * 50_000)
            values.append(at)
        at += 1000.0 if falls < count else 0.0
    return times, values


def windows_in_influx(times: Sequence[int], values: Sequence[float]) -> Part:
    """What a downsampling query makes of samples."""
    by_start: dict[int, list[float]] = {}
    for at, value in zip(times, values, strict=True):
        by_start.setdefault((at - 1) // WINDOW_MS * WINDOW_MS, []).append(value)
    held = list(by_start.values())
    columns: Mapping[str, list[float]] = {
        "min": [min(one) for one in held],
        "max": [max(one) for one in held],
        "sum": [sum(one) for one in held],
        "count": [float(len(one)) for one in held],
        "last": [one[-1] for one in held],
    }
    return part([start + SHIFT_MS for start in by_start], **columns)


@given(counters())
def test_windows_say_what_those_of_the_embedded_store_say(
    counter: tuple[list[int], list[float]],
) -> None:
    times, values = counter
    if not times:
        return
    parts = TierParts()
    add_windows(parts, 0, windows_in_influx(times, values))
    ends, found = parts.windows([(0, 0)]) or (None, None)
    assert ends is not None
    assert found is not None
    wanted = aggregate(np.array(times), np.array(values), 0)
    assert ends.tolist() == ((wanted.at + 1) * WINDOW_MS).tolist()
    for column in ("samples", "least", "greatest", "total", "last"):
        assert getattr(found, column).tolist() == getattr(wanted, column).tolist()
    ours, theirs = increases(found, ends), increases(wanted, ends)
    # Of the first after a gap what it began with is not known, but its least or its greatest.
    known = ~wanted.started
    assert ours.rose[known].tolist() == theirs.rose[known].tolist()
    assert (ours.rose <= theirs.rose + 1e-9).all()


FALLS = [
    pytest.param([90, 95], [1, 5], 5.0, id="between two windows"),
    pytest.param([90, 95], [97, 2], 4.0, id="within the second"),
    pytest.param([90, 95], [1, 99], 99.0, id="between them, and then beyond what it was"),
    pytest.param([90, 95], [95, 95], 0.0, id="it stands still"),
]


@pytest.mark.parametrize(("first", "second", "rose"), FALLS)
def test_a_fall_is_no_loss(first: list[float], second: list[float], rose: float) -> None:
    times = [1, 2, WINDOW_MS + 1, WINDOW_MS + 2]
    parts = TierParts()
    add_windows(parts, 0, windows_in_influx(times, [*first, *second]))
    ends, found = parts.windows([(0, 0)]) or (None, None)
    assert ends is not None
    assert found is not None
    assert increases(found, ends).rose[1] == rose


def test_windows_of_another_width_and_without_samples_are_left_out() -> None:
    parts = TierParts()
    rows = {name: [1.0, 1.0, 1.0] for name in ("min", "max", "sum", "last")}
    add_windows(parts, 0, part([1, 60_001, DAY_MS + 1], count=[1.0, 1.0, 0.0], **rows))
    ends, _ = parts.windows([(0, 0)]) or (None, None)
    assert ends is not None
    assert ends.tolist() == [WINDOW_MS]


# --------------------------------------------------------------------------- what is asked, limits

NOW_MS = 1_700_000_100_000 // WINDOW_MS * WINDOW_MS
HOUR_MS, FAR_MS = 3_600_000, 10 * DAY_MS


class Asking(InfluxAsker):
    """Tells where each statement looks and from when to when."""

    def __init__(self, parts: Sequence[Part] = ()) -> None:
        given = {"kind": "influxdb1", "url": "http://127.0.0.1:9", "database": "d"}
        super().__init__(Influx1Config.model_validate(given))
        self.asked: list[tuple[str, int, int]] = []
        self.statements: list[str] = []
        self._parts = parts

    def parts(
        self,
        statement: str,
        database: str,
        texts: Callable[[str], float],
        patience: Patience = Patience(),  # noqa: B008 - frozen
        *,
        few: bool = False,
    ) -> Iterator[Part]:
        self._note(statement)
        return iter(self._parts)

    def rows(self, statement: str, database: str) -> Iterator[Mapping[str, Any]]:
        self._note(statement)
        return iter([{"values": [["m,a=b"]]}])

    def spans(self) -> list[tuple[str, int, int]]:
        """What was asked, parts of one reading as one, samples before windows."""
        found: list[tuple[str, int, int]] = []
        for policy, first, last in sorted(self.asked, key=lambda one: (one[0] == "5m", one[1])):
            if found and found[-1][0] == policy and found[-1][2] + 1 == first:
                found[-1] = (policy, found[-1][1], last)
            else:
                found.append((policy, first, last))
        return found

    def _note(self, statement: str) -> None:
        policy = statement.partition(' FROM "')[2].partition('"')[0]
        first, last = (
            int(word.removesuffix("ms")) - NOW_MS
            for word in statement.split()
            if word.endswith("ms") and word[0] in "-0123456789"
        )
        self.statements.append(statement)
        self.asked.append((policy, first, last))


def reader(asker: InfluxAsker, tiers: str = "30d") -> InfluxReader:
    places = (Place("d", "raw"), Place("d", "5m"))
    retention = InfluxRetention.model_validate({"tiers": tiers})
    return InfluxReader(asker, *places, retention, dict, now=lambda: NOW_MS / 1000)


RAW_MS = 7 * DAY_MS
# Start and end from now, the hints, and what is asked: policy, first and last ms from now.
PLANS = [
    pytest.param(
        -HOUR_MS, 0, Hints(tier="auto"), [("raw", -HOUR_MS, 0)], id="auto: samples that there are"
    ),
    pytest.param(
        -HOUR_MS, 0, Hints(tier="5m", range_ms=600_000, func="quantile_over_time"),
        [("raw", -HOUR_MS, 0)], id="5m: a function that windows do not answer",
    ),
    pytest.param(
        -HOUR_MS, 0, Hints(tier="5m", range_ms=600_000, func="rate"),
        [("raw", -600_000 + 1, 0), ("5m", -HOUR_MS - 600_000, -600_000)],
        id="5m: windows up to those that may not be made yet",
    ),
    pytest.param(
        -FAR_MS, -FAR_MS + HOUR_MS, Hints(tier="auto"),
        [("5m", -FAR_MS - 600_000, -FAR_MS + HOUR_MS + WINDOW_MS)], id="auto: samples are gone",
    ),
    pytest.param(
        -FAR_MS, 0, Hints(tier="auto", range_ms=600_000, func="max_over_time"),
        [("raw", -RAW_MS + 1, 0), ("5m", -FAR_MS - 600_000, -RAW_MS)], id="auto: half are gone",
    ),
    pytest.param(
        -FAR_MS, 0, Hints(tier="raw", range_ms=600_000, func="rate"), [("raw", -FAR_MS, 0)],
        id="raw: samples only",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("start", "end", "hints", "wanted"), PLANS)
def test_where_a_selection_is_read(
    start: int, end: int, hints: Hints, wanted: list[tuple[str, int, int]]
) -> None:
    asker = Asking()
    reader(asker).select([NAME], NOW_MS + start, NOW_MS + end, hints)
    assert asker.spans() == wanted


def test_without_windows_samples_are_asked_for_however_old() -> None:
    asker = Asking()
    reader(asker, tiers="0s").select([NAME], NOW_MS - FAR_MS, NOW_MS, Hints(tier="auto"))
    assert asker.spans() == [("raw", -FAR_MS, 0)]


PARTS = [
    pytest.param(1, 1, id="a millisecond"),
    pytest.param(30 * 60_000, 1, id="half an hour"),
    pytest.param(60 * 60_000 + 1, 2, id="an hour"),
    pytest.param(100 * 60_000, 3, id="more"),
    pytest.param(30 * DAY_MS + 7, 4, id="and four at most"),
]


@pytest.mark.parametrize(("whole", "count"), PARTS)
def test_long_times_are_read_in_parts_without_gap_or_overlap(whole: int, count: int) -> None:
    asker = Asking()
    reader(asker).select([NAME], NOW_MS - whole + 1, NOW_MS, Hints())
    assert len(asker.asked) == count
    assert asker.spans() == [("raw", 1 - whole, 0)]


def test_the_newest_sample_alone_is_asked_for_where_it_is_enough() -> None:
    asker = Asking()
    instant = Hints(step_ms=HOUR_MS)
    reader(asker).select([NAME], NOW_MS - HOUR_MS + 1, NOW_MS, instant)
    reader(asker).select([NAME], NOW_MS - HOUR_MS, NOW_MS, instant)
    reader(asker).select([NAME], NOW_MS - 59_999, NOW_MS, Hints(HOUR_MS, 60_000, "rate"))
    newest = [text.endswith("ORDER BY time DESC LIMIT 1") for text in asker.statements]
    assert newest == [True, False, False, False]


class Failing(Asking):
    """Of a reading in parts the last fails; the others never end by themselves."""

    def parts(
        self,
        statement: str,
        database: str,
        texts: Callable[[str], float],
        patience: Patience = Patience(),  # noqa: B008 - frozen
        *,
        few: bool = False,
    ) -> Iterator[Part]:
        self._note(statement)
        if self.asked[-1][2] == 0:
            raise StorageError("away", retriable=True)
        while True:
            assert patience.check is not None
            patience.check()
            yield part([1], value=[NAN])


def test_a_part_that_fails_ends_the_others() -> None:
    failing = reader(Failing())
    with pytest.raises(StorageError, match="away"):
        failing.select([NAME], NOW_MS - 4 * HOUR_MS, NOW_MS, Hints())
    failing.close()


def test_no_time_is_asked_of_nobody() -> None:
    asker = Asking()
    assert reader(asker).select([NAME], 5, 4, Hints()) == []
    assert asker.asked == []


def test_windows_are_samples_of_a_selector_and_history_of_a_range() -> None:
    begin = NOW_MS - FAR_MS
    windows = windows_in_influx([begin + n * 60_000 + 1 for n in range(20)], [*range(20)])
    asker = Asking([windows])
    bounds = (begin, begin + HOUR_MS)
    (plain,) = reader(asker).select([NAME], *bounds, Hints(tier="auto"))
    assert (plain.times_ms - begin).tolist() == [WINDOW_MS * n for n in range(1, 5)]
    assert plain.values.tolist() == [4.0, 9.0, 14.0, 19.0]
    hints = Hints(tier="auto", range_ms=600_000, func="increase")
    (folded,) = reader(asker).select([NAME], *bounds, hints)
    assert isinstance(folded, Folded)
    assert folded.history.values.tolist() == [4.0, 5.0, 5.0, 5.0]


def test_series_that_have_expired_are_told_of_by_their_windows() -> None:
    asker = Asking()
    found = reader(asker).series([[NAME]], NOW_MS - FAR_MS, NOW_MS)
    assert found == [Labels.of({METRIC_NAME: "m"}, a="b")]
    assert [policy for policy, _, _ in asker.asked] == ["raw", "5m"]
    asker.asked.clear()
    reader(asker).series([[NAME]], NOW_MS - HOUR_MS, NOW_MS)
    assert [policy for policy, _, _ in asker.asked] == ["raw"]


class Garbled(Asking):
    def rows(self, statement: str, database: str) -> Iterator[Mapping[str, Any]]:
        return iter([{"values": [["m,a"]]}])


def test_a_series_key_that_is_none_is_an_error_that_names_the_store() -> None:
    with pytest.raises(StorageError, match=r"influxdb1 at http.*is no series"):
        reader(Garbled()).series([[NAME]], NOW_MS, NOW_MS)


def test_what_the_matchers_do_not_want_counts_against_no_limit() -> None:
    unwanted = [Part("other", {"n": str(n)}, np.arange(9), {"value": np.ones(9)}) for n in range(9)]
    asker = Asking([*unwanted, part([1, 2], value=[1.0, 2.0])])
    (found,) = reader(asker).select([NAME], 0, 9, Hints(max_samples=2, max_series=1))
    assert found.values.tolist() == [1.0, 2.0]
    with pytest.raises(QueryError, match="too many samples"):
        reader(asker).select([NAME], 0, 9, Hints(max_samples=1))


def test_a_query_that_is_cancelled_stops_reading() -> None:
    looked = 0

    def check() -> None:
        nonlocal looked
        looked += 1
        if looked == 3:
            raise QueryError("canceled", "stop")

    series = [Answered([(1, 1.0, None, None)], tags={"n": str(n)}) for n in range(9)]
    with FakeHttp(Told(200, packed(answer(*series)), MSGPACK)) as server:
        given = {"kind": "influxdb1", "url": server.url, "database": "d"}
        asker = InfluxAsker(Influx1Config.model_validate(given))
        with pytest.raises(QueryError, match="stop"):
            reader(asker).select([NAME], 0, 9, Hints(check=check))
        asker.close()
    assert looked == 3
