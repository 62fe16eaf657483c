"""Statements of InfluxQL: what is pushed down, and that no series is lost by it."""

import shutil
import uuid
from array import array
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetpulse.lineprotocol import Influx, LineEncoder
from fleetpulse.matchers import Matcher, MatchOp, all_match
from fleetpulse.model import METRIC_NAME, Labels, Layout, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.influx.ask import InfluxAsker
from fleetpulse.storage.influx.config import Influx1Config, InfluxRetention
from fleetpulse.storage.influx.influxql import (
    EARLIEST_MS,
    LATEST_MS,
    Place,
    read_series_key,
    select,
    select_windows,
    show_series,
)
from fleetpulse.storage.influx.reader import InfluxReader
from fleetpulse.storage.influx.series import labels_of
from tests.influx_server import InfluxServer, influxd

PLACE = Place("d")
NAME = Matcher(METRIC_NAME, "=", "m")


def source(*matchers: Matcher, place: Place = PLACE) -> str:
    """What stands behind FROM."""
    return select(place, matchers, 0, 1).partition(" FROM ")[2].partition(" WHERE ")[0]


def asked(*matchers: Matcher) -> list[str]:
    """The conditions besides those of time."""
    where = select(PLACE, [NAME, *matchers], 0, 1).partition(" WHERE ")[2]
    return where.removesuffix(" GROUP BY *").split(" AND ")[2:]


SOURCES = [
    pytest.param([], "/.*/", id="no name"),
    pytest.param([("=", "up")], '"up"', id="a name"),
    pytest.param([("=", 'a"b\\c')], '"a\\"b\\\\c"', id="quotes and backslashes are escaped"),
    pytest.param([("=", "a\nb")], '"a\ue00ab"', id="a line break as it is stored"),
    pytest.param([("=", "#x")], '"\ue023x"', id="a hash as it is stored"),
    pytest.param([("=", "")], "/^$/", id="no name matches nothing that is stored"),
    pytest.param([("=", "a\rb")], "/.*/", id="a carriage return is not told"),
    pytest.param([("=~", "node_.+")], "/^(?s:node_.+)$/", id="a pattern, anchored"),
    pytest.param([("=~", "a|b")], "/^(?s:a|b)$/", id="alternatives, anchored as a whole"),
    pytest.param([("=~", "a/b")], "/^(?s:a\\/b)$/", id="a slash does not end it"),
    pytest.param([("=~", "a\\/b")], "/^(?s:a\\/b)$/", id="an escaped slash stays so"),
    pytest.param([("=~", "\\pL+")], "/.*/", id="an escape that others may read otherwise"),
    pytest.param([("!=", "up")], "/.*/", id="what it is not"),
    pytest.param([("!~", "u.*")], "/.*/", id="what it does not match"),
    pytest.param([("=~", "u.*"), ("=", "up")], '"up"', id="a name before a pattern"),
    pytest.param(
        [("=~", "\\pL"), ("=~", "u.*")], "/^(?s:u.*)$/", id="the pattern that can be told"
    ),
]


@pytest.mark.parametrize(("named", "wanted"), SOURCES)
def test_where_samples_are_looked_for(named: list[tuple[MatchOp, str]], wanted: str) -> None:
    assert source(*(Matcher(METRIC_NAME, op, value) for op, value in named)) == wanted


TAGS = [
    pytest.param("job", "=", "node", "\"job\"::tag = 'node'", id="equal"),
    pytest.param("job", "!=", "node", "\"job\"::tag != 'node'", id="not equal"),
    pytest.param("job", "=", "", "\"job\"::tag = ''", id="empty: has none"),
    pytest.param("job", "!=", "", "\"job\"::tag != ''", id="not empty: has one"),
    pytest.param("job", "=~", "a|b", '"job"::tag =~ /^(?s:a|b)$/', id="pattern"),
    pytest.param("job", "!~", "a|b", '"job"::tag !~ /^(?s:a|b)$/', id="no such pattern"),
    pytest.param("job", "=~", "(?i)A", '"job"::tag =~ /^(?s:(?i)A)$/', id="flags within"),
    pytest.param("job", "=", "it's", "\"job\"::tag = 'it\\'s'", id="a quote"),
    pytest.param("job", "=", "a\\b", "\"job\"::tag = 'a\\\\b'", id="a backslash"),
    pytest.param("job", "=", "a\\", "\"job\"::tag = 'a\ue05c'", id="a last one, as stored"),
    pytest.param("job", "=", "a\nb", "\"job\"::tag = 'a\ue00ab'", id="a line break"),
    pytest.param("time", "=", "x", "\"time\ue000\"::tag = 'x'", id="a name that is taken"),
    pytest.param("value", "=", "x", "\"value\ue000\"::tag = 'x'", id="a field's name"),
    pytest.param('a"b', "=", "x", '"a\\"b"::tag = \'x\'', id="a quote in a name"),
    pytest.param("job", "=", "';DROP", "\"job\"::tag = '\\';DROP'", id="nothing ends the text"),
    pytest.param("job", "=~", "/;DROP", '"job"::tag =~ /^(?s:\\/;DROP)$/', id="nor the pattern"),
    pytest.param("job", "=~", "a\\.b", '"job"::tag =~ /^(?s:a\\.b)$/', id="a common escape"),
]


@pytest.mark.parametrize(("name", "op", "value", "wanted"), TAGS)
def test_a_matcher_is_told(name: str, op: MatchOp, value: str, wanted: str) -> None:
    assert asked(Matcher(name, op, value)) == [wanted]


UNTOLD = [
    pytest.param("job", "=", "a\rb", id="a carriage return"),
    pytest.param("job", "!=", "a\rb", id="not with a carriage return"),
    pytest.param("a\rb", "=", "x", id="in the name"),
    pytest.param("job", "=~", "a\nb", id="a line break in a pattern"),
    pytest.param("job", "=~", "a\\nb", id="one that is escaped"),
    pytest.param("job", "=~", "a\\\\b", id="a backslash, which may be stored as another"),
    pytest.param("job", "!~", "\\x41", id="a number of a character"),
    pytest.param("job", "=~", "\\s+", id="space, where a line break is another character"),
    pytest.param("job", "=~", "\\pL", id="a class of Unicode"),
]


@pytest.mark.parametrize(("name", "op", "value"), UNTOLD)
def test_a_matcher_that_may_mean_something_else_there_is_not_told(
    name: str, op: MatchOp, value: str
) -> None:
    assert asked(Matcher(name, op, value)) == []


def test_a_policy_stands_before_what_is_looked_for() -> None:
    place = Place("d", 'a"b')
    assert source(NAME, place=place) == '"a\\"b"."m"'
    assert source(place=place) == '"a\\"b"./.*/'
    assert '"a\\"b"."m"' in show_series(place, [NAME], 0, 1)
    assert 'FROM "m"' in show_series(PLACE, [NAME], 0, 1)


TIMES = [
    pytest.param(0, 1, 0, 1, id="as they are"),
    pytest.param(-(2**62), 2**62, EARLIEST_MS, LATEST_MS, id="no further than there are times"),
    pytest.param(-5, -3, -5, -3, id="before 1970"),
]


@pytest.mark.parametrize(("start", "end", "first", "last"), TIMES)
def test_times(start: int, end: int, first: int, last: int) -> None:
    wanted = f"WHERE time >= {first}ms AND time <= {last}ms"
    for make in (select, select_windows, show_series):
        assert wanted in make(PLACE, [NAME], start, end)


KEYS = [
    pytest.param("up", ("up", []), id="no tags"),
    pytest.param("up,a=b,c=d", ("up", [("a", "b"), ("c", "d")]), id="tags"),
    pytest.param("a\\,b\\ c,d=e", ("a,b c", [("d", "e")]), id="escapes in the name"),
    pytest.param("m,a\\=b=c\\,d\\ e\\=f", ("m", [("a=b", "c,d e=f")]), id="escapes in a tag"),
    pytest.param("m,a=C:\\dir", ("m", [("a", "C:\\dir")]), id="a backslash is itself"),
    pytest.param("m,a=b\\\\,c", ("m", [("a", "b\\,c")]), id="the last one before a comma escapes"),
    pytest.param("m,a=", ("m", [("a", "")]), id="an empty text"),
]


@pytest.mark.parametrize(("key", "wanted"), KEYS)
def test_series_keys(key: str, wanted: tuple[str, list[tuple[str, str]]]) -> None:
    assert read_series_key(key) == wanted


@pytest.mark.parametrize("key", ["m,a", "m,a=b=c", "m,,a=b"])
def test_what_is_no_series_key(key: str) -> None:
    with pytest.raises(ValueError, match="is no series"):
        read_series_key(key)


ANY = st.text(
    st.characters(exclude_categories=["Cs", "Co"], exclude_characters="\0"), min_size=1, max_size=8
)


@given(ANY, st.dictionaries(ANY, ANY, max_size=4))
def test_a_series_key_is_read_as_it_was_written(name: str, tags: dict[str, str]) -> None:
    labels = Labels.of(tags | {METRIC_NAME: name})
    page = Page(Labels(), Layout((labels,)), 5, array("d", [1.0]))
    (line,) = LineEncoder(Influx()).encode(page).lines
    assert labels_of(*read_series_key(line.removesuffix(" value=1.0 5\n"))) == labels


# --------------------------------------------------------------------------- on a real one

AT = 1_700_000_000_000
TEXTS = [
    "",
    "a",
    "b",
    "ab",
    "A",
    "a b",
    "a\nb",
    "a\rb",
    "a\\",
    "\\",
    "a\\b",
    "/",
    "it's",
    "ü",
    "a.b",
]
FLEET = [
    Labels.of({METRIC_NAME: name, "x": x, "time": y})
    for name, texts in (("m", TEXTS), ("m2", TEXTS[:4]), ("a\nb", ["", "a"]), ("#", ["a"]))
    for x in texts
    for y in ("", x)
]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxReader]:
    if shutil.which("influxd") is None:
        pytest.skip("not installed: influxd (Debian's influxdb)")
    with influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield filled(server, sorted(set(FLEET)))


def filled(server: InfluxServer, fleet: Sequence[Labels]) -> InfluxReader:
    name = f"t{uuid.uuid4().hex}"
    server.query(f'CREATE DATABASE "{name}"')
    page = Page.of(Labels(), AT, dict.fromkeys(fleet, 1.0))
    server.write(name, "".join(LineEncoder(Influx()).encode(page).lines))
    config = {"kind": "influxdb1", "url": server.url, "database": name}
    asker = InfluxAsker(Influx1Config.model_validate(config))
    return InfluxReader(asker, Place(name), Place(name), InfluxRetention(tiers=0.0), dict)


# Pieces of patterns, of which some are told to the server and some are not.
ATOM = st.sampled_from(
    ["a", "b", ".", "\\.", "\\w", "\\W", "\\d", "\\s", "[ab]", "[^a]", "[^/]", "/", "\\/", "\\n",
     "\n", "\\\\", "'", "(?i)A", "(?i:A)", "(a|b)", "a|b", "|", "$", "^", "\\b", "ü", "\\pL",
     "[[:alpha:]]", "\\x61", " ", "\r", "[\\w ]", "(?:)", "\\$"]
)  # fmt: skip
PATTERN = st.lists(
    st.tuples(ATOM, st.sampled_from(["", "", "*", "+", "?", "{1,2}", "*?"])).map("".join),
    max_size=4,
).map("".join)


@st.composite
def matcher(draw: st.DrawFn) -> Matcher:
    name = draw(st.sampled_from([METRIC_NAME, "x", "time", "none", "value"]))
    op: MatchOp = draw(st.sampled_from(["=", "!=", "=~", "!~"]))
    texts = st.sampled_from([*TEXTS, "m", "m2", "#", "none"])
    if op in ("=", "!="):
        return Matcher(name, op, draw(texts))
    try:
        return Matcher(name, op, draw(PATTERN))
    except ValueError:
        return Matcher(name, op, ".*")


@pytest.mark.peer
@pytest.mark.integration
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(matchers=st.lists(matcher(), min_size=1, max_size=3))
def test_what_is_pushed_down_loses_no_series(reader: InfluxReader, matchers: list[Matcher]) -> None:
    wanted = sorted(labels for labels in set(FLEET) if all_match(matchers, labels))
    found = reader.select(matchers, AT, AT, Hints())
    assert [one.labels for one in found] == wanted
    assert reader.series([matchers], AT, AT) == wanted
