"""Whatever the store: samples come back as they were written, chosen by the same matchers."""

import itertools
import math
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import METRIC_NAME, STALE_NAN, Labels, Page
from fleetpulse.storage.base import Hints
from tests.every_store import Store, Stores, kinds, opened, stores
from tests.store_fakes import bits, samples_of

AT = 1_700_000_000_000
TARGET = Labels.of(instance="web1:9100", job="node")


@pytest.fixture(scope="module", params=kinds())
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stores]:
    with stores(request.param, tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def store(running: Stores, tmp_path: Path) -> Iterator[Store]:
    with opened(running, tmp_path) as found:
        yield found


def line(name: str, **labels: str) -> Labels:
    return Labels.of({METRIC_NAME: name}, **labels)


def page(lines: dict[Labels, float], at_ms: int = AT, target: Labels = TARGET) -> Page:
    return Page.of(target, at_ms, lines)


def read(
    store: Store, *matchers: Matcher, start: int = AT - 3_600_000, end: int = AT + 3_600_000
) -> dict[Labels, dict[int, int]]:
    """Bits of the values by time, by labels."""
    return samples_of(store.reader.select(matchers, start, end, Hints()))


def named(name: str) -> Matcher:
    return Matcher(METRIC_NAME, "=", name)


def test_values_come_back_bit_for_bit(store: Store, running: Stores) -> None:
    values = [0.0, 1.0, 2.0**53 + 2, 1234.5678, -1e-12, STALE_NAN, math.inf, -math.inf]
    if running.exact:
        values += [-0.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -1e-300, math.nan]
    store.write(page({line("m", n=str(n)): value for n, value in enumerate(values)}))
    found = read(store, named("m"))
    assert {int(labels.get("n")): samples[AT] for labels, samples in found.items()} == dict(
        enumerate(bits(values))
    )


def test_a_series_of_many_samples_comes_back_in_order(store: Store) -> None:
    pages = [page({line("m"): float(turn % 7)}, AT + turn * 10_000) for turn in range(300)]
    store.write(*pages[:200], *pages[200:])
    (found,) = store.reader.select([named("m")], AT, AT + 2_990_000, Hints())
    assert found.labels == TARGET.merged(line("m"))
    assert found.times_ms.tolist() == [AT + turn * 10_000 for turn in range(300)]
    assert found.values.tolist() == [float(turn % 7) for turn in range(300)]


def test_markers_and_specials_amid_numbers_keep_their_places(store: Store, running: Stores) -> None:
    values = [1.0, 2.0, STALE_NAN, math.inf, 3.0, -math.inf, 4.0, STALE_NAN]
    if running.exact:
        values += [math.nan, 5.0]
    store.write(*(page({line("m"): v}, AT + n * 1000) for n, v in enumerate(values)))
    (samples,) = read(store, named("m")).values()
    assert list(samples.values()) == bits(values)


def test_the_same_time_twice_is_one_sample_and_the_last_wins(store: Store) -> None:
    store.write(page({line("m"): 1.0}))
    store.write(page({line("m"): 1.0}), page({line("m"): 2.0}))
    (samples,) = read(store, named("m")).values()
    assert samples == {AT: bits([2.0])[0]}


def test_late_samples_join_those_that_are_there(store: Store) -> None:
    store.write(*(page({line("m"): float(n)}, AT + n * 60_000) for n in (5, 6, 7)))
    store.write(*(page({line("m"): float(n)}, AT + n * 60_000) for n in (0, 1, 6)))
    (found,) = store.reader.select([named("m")], AT, AT + 3_600_000, Hints())
    assert found.values.tolist() == [0.0, 1.0, 5.0, 6.0, 7.0]


def test_both_ends_of_the_time_are_in(store: Store) -> None:
    store.write(*(page({line("m"): float(n)}, AT + n) for n in range(5)))
    (samples,) = read(store, named("m"), start=AT + 1, end=AT + 3).values()
    assert sorted(samples) == [AT + 1, AT + 2, AT + 3]
    assert read(store, named("m"), start=AT + 5, end=AT + 10) == {}


def test_from_ever_to_ever_is_a_time_like_any_other(store: Store) -> None:
    store.write(page({line("m"): 1.0}))
    assert len(read(store, named("m"), start=-(1 << 62), end=1 << 62)) == 1
    assert read(store, named("m"), start=1 << 60, end=1 << 61) == {}


def test_a_series_without_a_sample_in_the_time_is_not_told_of(store: Store) -> None:
    store.write(page({line("m", n="1"): 1.0}), page({line("m", n="2"): 1.0}, AT + 60_000))
    found = read(store, named("m"), start=AT + 1)
    assert [labels.get("n") for labels in found] == ["2"]


def test_where_the_newest_sample_is_enough_it_is_that_one(store: Store, running: Stores) -> None:
    """A step that is longer than the time asked for: nothing before the newest is looked at."""
    values = [1.0, 2.0, STALE_NAN, math.nan if running.exact else math.inf, 5.0]
    lines = [line("m", n=str(n)) for n in range(len(values))]
    for turn, value in enumerate(values):
        # The first series has one sample, the second two, …
        store.write(page(dict.fromkeys(lines[turn:], value), AT + turn * 1000))
    newest = Hints(step_ms=300_000)
    for end, known in ((AT + 299_000, 5), (AT + 1500, 2)):
        found = store.reader.select([named("m")], end - 299_999, end, newest)
        assert [one.labels for one in found] == [TARGET.merged(one) for one in lines]
        last = [bits([one.values[-1]])[0] for one in found]
        assert last == bits([values[min(n, known - 1)] for n in range(len(values))])


def test_hours_come_back_whole_wherever_a_reading_is_cut(store: Store) -> None:
    times = [AT + turn * 97_001 for turn in range(250)]
    values = {at: STALE_NAN if n % 50 == 7 else float(n) for n, at in enumerate(times)}
    store.write(*(page({line("m"): value}, at) for at, value in values.items()))
    for start, end in ((times[0], times[-1]), (times[3] + 1, times[-1] - 1), (AT, AT + 3_600_000)):
        (samples,) = read(store, named("m"), start=start, end=end).values()
        assert samples == {at: bits([v])[0] for at, v in values.items() if start <= at <= end}


# --------------------------------------------------------------------------- labels

TRICKY = [
    "a b", "a,b", "a=b", "C:\\", "C:\\dir", "a\\ b", "a\\,b", "\\", "\\\\", '"q"', "it's", "ü 😀",
    "a\nb", "\n", "a\\\n", "\t", "\r", "{}", "$1", "/slash/", " ", "\\n", "%20", "#",
]  # fmt: skip


def test_tricky_label_values_come_back_and_can_be_asked_for(store: Store) -> None:
    store.write(page({line("m", text=text): float(n) for n, text in enumerate(TRICKY)}))
    found = read(store, named("m"))
    assert {labels.get("text") for labels in found} == set(TRICKY)
    for number, text in enumerate(TRICKY):
        (samples,) = read(store, named("m"), Matcher("text", "=", text)).values()
        assert samples[AT] == bits([float(number)])[0], text
        assert len(read(store, named("m"), Matcher("text", "!=", text))) == len(TRICKY) - 1


LABEL = st.text(
    st.characters(exclude_categories=["Cs", "Co"], exclude_characters="\0"), min_size=1, max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3)
@given(st.lists(LABEL, min_size=40, max_size=40, unique=True))
def test_any_label_value_comes_back(running: Stores, tmp_path: Path, texts: list[str]) -> None:
    with opened(running, tmp_path / uuid.uuid4().hex) as store:
        store.write(page({line("any", text=text): float(n) for n, text in enumerate(texts)}))
        found = read(store, named("any"))
        assert {labels.get("text") for labels in found} == set(texts)


NAMES = ["time", "value", "stale", "special", "min", "_field", "le", "__x", "host.name", "ünï"]


def test_names_that_may_mean_something_to_the_store(store: Store) -> None:
    store.write(page({line("m", **{name: "x"}): 1.0 for name in NAMES}))
    for name in NAMES:
        (labels,) = read(store, named("m"), Matcher(name, "=", "x"))
        assert labels == TARGET.merged(line("m", **{name: "x"}))


METRICS = ["job:up:sum", "with space", "a.b", "a,b=c", "#x", "select", "ü_total", "up"]


@pytest.mark.parametrize("name", METRICS)
def test_names_of_metrics_come_back(store: Store, name: str) -> None:
    store.write(page({line(name): 1.0, line("other"): 2.0}))
    assert list(read(store, named(name))) == [TARGET.merged(line(name))]


# --------------------------------------------------------------------------- matchers

FLEET = [
    line("up"),
    line("cpu", mode="idle", cpu="0"),
    line("cpu", mode="user", cpu="0"),
    line("cpu", mode="user", cpu="1"),
    line("disk", device="/dev/sda", mode=""),
    line("disk", device="/dev/nvme0n1p1"),
    line("net", device="eth0"),
    line("text", path="a/b\nc", mode="it's"),
]
VALUES = [
    "", "idle", "user", "idle|user", "id.*", ".*", ".+", "u[a-z]+", "(?i)USER", "0|", "/dev/.*",
    "/dev/sd[a-z]", "eth\\d", "[^/]*", "a/b.c", "a/b\\nc", "it's", "\\w+", "|idle", "cpu|disk|up",
]  # fmt: skip
MATCHERS = [
    Matcher(name, op, value)  # type: ignore[arg-type]
    for name, op, value in itertools.product(
        (METRIC_NAME, "mode", "device", "path", "none"), ("=", "!=", "=~", "!~"), VALUES
    )
]


def test_matchers_choose_as_prometheus_does(store: Store) -> None:
    targets = [TARGET, Labels.of(instance="db1:9100", job="db", mode="idle")]
    store.write(*(page(dict.fromkeys(FLEET, 1.0), target=target) for target in targets))
    every = [target.merged(one) for target in targets for one in FLEET]
    for matcher in MATCHERS:
        wanted = sorted(labels for labels in set(every) if all_match([matcher], labels))
        assert list(read(store, matcher)) == wanted, str(matcher)


def test_several_matchers_must_all_be_met(store: Store) -> None:
    store.write(page(dict.fromkeys(FLEET, 1.0)))
    for some in itertools.combinations(MATCHERS[::17], 2):
        wanted = sorted(labels for one in FLEET if all_match(some, labels := TARGET.merged(one)))
        assert list(read(store, *some)) == wanted, list(map(str, some))


# --------------------------------------------------------------------------- label endpoints


def test_label_names_values_and_series(store: Store) -> None:
    store.write(page(dict.fromkeys(FLEET, 1.0)))
    around = (AT - 1000, AT + 1000)
    labels = {name for one in FLEET for name, _ in TARGET.merged(one)}
    assert store.reader.labels([], *around) == sorted(labels)
    cpu = [[Matcher(METRIC_NAME, "=", "cpu")]]
    assert store.reader.labels(cpu, *around) == [METRIC_NAME, "cpu", "instance", "job", "mode"]
    assert store.reader.label_values("mode", [], *around) == ["idle", "it's", "user"]
    assert store.reader.label_values("mode", cpu, *around) == ["idle", "user"]
    names = ["cpu", "disk", "net", "text", "up"]
    assert store.reader.label_values(METRIC_NAME, [], *around) == names
    assert store.reader.label_values("none", [], *around) == []
    two = [*cpu, [Matcher("device", "=~", "eth.*")]]
    found = [TARGET.merged(one) for one in FLEET if one.name in ("cpu", "net")]
    assert store.reader.series(two, *around) == sorted(found)


BARE = Labels()  # of a recording rule that sums over everything


def test_labels_of_what_each_matcher_chooses(store: Store, running: Stores) -> None:
    every = [*(TARGET.merged(one) for one in FLEET), line("job:up:sum"), line("no:labels")]
    store.write(page(dict.fromkeys(FLEET, 1.0)), page(dict.fromkeys(every[-2:], 1.0), target=BARE))
    around = (AT - 1000, AT + 1000)
    for matcher in MATCHERS[::3]:
        chosen = [labels for labels in every if all_match([matcher], labels)]
        names = sorted({name for labels in chosen for name, _ in labels})
        told = store.reader.labels([[matcher]], *around)
        assert told == names or not running.forgets, str(matcher)
        assert set(told) >= set(names), str(matcher)
        for label in (METRIC_NAME, "mode", "device", "none"):
            values = sorted({labels.get(label) for labels in chosen} - {""})
            told = store.reader.label_values(label, [[matcher]], *around)
            assert told == values or not running.forgets, str(matcher)
            assert set(told) >= set(values), str(matcher)


def test_labels_of_what_several_matchers_choose(store: Store) -> None:
    store.write(page(dict.fromkeys(FLEET, 1.0)))
    around = (AT - 1000, AT + 1000)
    cpu, job = Matcher(METRIC_NAME, "=~", "c.*|d.*"), Matcher("job", "=", "node")
    assert store.reader.label_values("mode", [[cpu, job]], *around) == ["idle", "user"]
    user = [cpu, job, Matcher("mode", "=~", "u.*")]
    assert store.reader.label_values("mode", [user], *around) == ["user"]
    assert store.reader.label_values("cpu", [user], *around) == ["0", "1"]
    assert store.reader.label_values(METRIC_NAME, [user], *around) == ["cpu"]
    assert store.reader.label_values("cpu", [[job, Matcher("job", "=", "x")]], *around) == []
    nine = [Matcher("cpu", "=", "9")]
    assert "node" in store.reader.label_values("job", [[cpu], nine], *around)
    assert store.reader.label_values("job", [nine], *around) == []


def test_tricky_label_values_are_told(store: Store) -> None:
    store.write(page({line("m", text=text): 1.0 for text in TRICKY}))
    around = (AT - 1000, AT + 1000)
    assert store.reader.label_values("text", [], *around) == sorted(TRICKY)
    slash = [[Matcher("text", "=~", ".*/.*")]]
    assert store.reader.label_values("text", slash, *around) == ["/slash/"]


def test_label_endpoints_of_another_month_tell_of_nothing(store: Store) -> None:
    store.write(page({line("up"): 1.0}))
    far = (AT - 60 * 86_400_000, AT - 40 * 86_400_000)
    assert store.reader.series([], *far) == []
    assert store.reader.label_values("job", [], *far) == []


# --------------------------------------------------------------------------- limits


def test_a_selection_is_bounded_by_samples_and_by_series(store: Store) -> None:
    lines = {line("m", n=str(n)): 1.0 for n in range(20)}
    store.write(*(page(lines, AT + turn * 1000) for turn in range(10)))
    bounds = (AT, AT + 10_000)
    assert len(store.reader.select([named("m")], *bounds, Hints(max_samples=200))) == 20
    with pytest.raises(QueryError, match="too many samples"):
        store.reader.select([named("m")], *bounds, Hints(max_samples=199))
    with pytest.raises(QueryError, match="more than 19 series"):
        store.reader.select([named("m")], *bounds, Hints(max_series=19))
