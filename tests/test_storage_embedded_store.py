"""The embedded store through its front: what goes in comes out, by labels and by time."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.matchers import Matcher, MatchOp
from fleetpulse.model import STALE_NAN, Labels, Layout, Metadata, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore
from fleetpulse.storage.embedded.chunks import spans_between
from tests.store_fakes import (
    FOR_EVER,
    FROM_EVER,
    MINUTE,
    T0,
    bits,
    everything,
    line,
    opened,
    page,
    timed_page,
)

WEB = Labels.of(job="node", instance="web", zone="a")
DB = Labels.of(job="node", instance="db")
FLEET = [
    page(WEB, T0, {line("up"): 1, line("cpu", mode="idle"): 2, line("cpu", mode="user"): 3}),
    page(DB, T0, {line("up"): 1, line("cpu", mode="idle"): 5, line("disk", zone=""): 7}),
    # This line names a label of its target itself, and that one takes one away.
    page(WEB, T0, {line("probe", instance="far"): 8, line("bare", zone=""): 9}),
]

ALL = Labels.of(__name__="all")


CASES = [
    pytest.param("__name__=up", "up db, up web", id="name"),
    pytest.param("__name__=cpu & mode=idle", "cpu db, cpu web", id="two matchers"),
    pytest.param("instance=web & __name__=up", "up web", id="target label"),
    pytest.param("instance=far", "probe far", id="a line's label hides the target's"),
    pytest.param("instance=web & __name__=probe", "", id="and the hidden one does not match"),
    pytest.param("__name__=~u.|probe", "probe far, up db, up web", id="regex"),
    pytest.param("__name__=~u", "", id="regex is anchored"),
    pytest.param("__name__!~cpu|up|disk", "bare web, probe far", id="negated regex"),
    pytest.param(
        "zone= & __name__=~up|bare", "bare web, up db", id="empty matches a missing label"
    ),
    pytest.param("zone!= & __name__=up", "up web", id="not empty"),
    pytest.param(
        "mode!=idle & __name__=~cpu|up",
        "cpu web, up db, up web",
        id="not equal takes missing ones in",
    ),
    pytest.param("zone=~a? & __name__=up", "up db, up web", id="regex that matches empty"),
    pytest.param("zone=~ & __name__=up", "up db", id="regex that matches empty only"),
    pytest.param(
        "zone!~|b & __name__=up", "up web", id="negated regex that leaves the missing out"
    ),
    pytest.param("nope=x", "", id="label nobody has"),
    pytest.param("nope= & __name__=up", "up db, up web", id="label nobody has, empty"),
    pytest.param("mode=~i.* & mode!=user", "cpu db, cpu web", id="the same label twice"),
]


def matchers_in(text: str) -> list[Matcher]:
    """`name op value` joined by ` & `; names and values as they are."""
    parts = [re.fullmatch("(.*?)(=~|!~|!=|=)(.*)", part) for part in text.split(" & ")]
    return [Matcher(part[1], cast(MatchOp, part[2]), part[3]) for part in parts if part]


@pytest.fixture(params=["pages", "chunks"])
def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedStore]:
    with opened(tmp_path / "x.db", now_ms=T0 + 60 * MINUTE) as store:
        store.write(FLEET)
        if request.param == "chunks":
            assert store.compact().pages == len(FLEET)
        yield store


@pytest.mark.parametrize(("asked", "expected"), CASES)
def test_matchers_work_on_merged_labels(fleet: EmbeddedStore, asked: str, expected: str) -> None:
    matchers = matchers_in(asked)

    found = everything(fleet, *matchers)

    names = [f"{labels.name} {labels.get('instance')}" for labels in found]
    assert ", ".join(sorted(names)) == expected
    assert sorted(found) == fleet.series([matchers], T0, T0)


def test_labels_of_a_series_are_the_targets_and_the_lines(fleet: EmbeddedStore) -> None:
    assert list(map(str, everything(fleet, Matcher("__name__", "=~", "bare|probe|disk")))) == [
        'bare{instance="web", job="node"}',
        'disk{instance="db", job="node"}',
        'probe{instance="far", job="node", zone="a"}',
    ]


def test_label_names_and_values(fleet: EmbeddedStore) -> None:
    assert fleet.labels([], T0, T0) == ["__name__", "instance", "job", "mode", "zone"]
    assert fleet.labels([[Matcher("__name__", "=", "bare")]], T0, T0) == [
        "__name__", "instance", "job",
    ]  # fmt: skip
    assert fleet.label_values("instance", [], T0, T0) == ["db", "far", "web"]
    assert fleet.label_values("zone", [], T0, T0) == ["a"]
    assert fleet.label_values("nope", [], T0, T0) == []
    sets = [[Matcher("mode", "=", "user")], [Matcher("__name__", "=", "disk")]]
    assert fleet.label_values("__name__", sets, T0, T0) == ["cpu", "disk"]
    assert list(map(str, fleet.series(sets, T0, T0))) == [
        'cpu{instance="web", job="node", mode="user", zone="a"}',
        'disk{instance="db", job="node"}',
    ]


def test_label_requests_keep_to_their_time(fleet: EmbeddedStore) -> None:
    day = 24 * 60 * MINUTE
    for start, end in [(T0 - day, T0 - 1), (T0 + day, T0 + 2 * day)]:
        assert fleet.labels([], start, end) == []
        assert fleet.label_values("job", [], start, end) == []
        assert fleet.series([], start, end) == []


def test_bounds_are_inclusive(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        store.write([page(WEB, T0 + k, {ALL: k}) for k in range(5)])

        (found,) = everything(store, start_ms=T0 + 1, end_ms=T0 + 3).values()

    assert list(found) == [T0 + 1, T0 + 2, T0 + 3]


@pytest.mark.parametrize("compacted", [False, True])
def test_special_values_keep_their_bits(tmp_path: Path, compacted: bool) -> None:
    values = [1.5, STALE_NAN, float("nan"), -0.0, 0.0, float("inf"), -float("inf"), 5e-324]
    with opened(tmp_path / "x.db", now_ms=T0 + 60 * MINUTE) as store:
        store.write([page(WEB, T0 + k, {ALL: value}) for k, value in enumerate(values)])
        if compacted:
            assert store.compact().samples == len(values)

        (found,) = everything(store).values()

    assert list(found.values()) == bits(values)


@pytest.mark.parametrize("compacted", [(), (1,), (2,), (1, 2)], ids=str)
def test_the_last_written_of_two_wins(tmp_path: Path, compacted: tuple[int, ...]) -> None:
    with opened(tmp_path / "x.db", now_ms=T0 + 60 * MINUTE) as store:
        writes = [
            [page(WEB, T0, {ALL: 1, line("b"): 1}), page(WEB, T0 + 5, {ALL: 2})],
            [timed_page(WEB, [(line("c"), T0, 9), (ALL, T0, 3)]), page(WEB, T0 + 2, {ALL: 4})],
            [],
        ]
        for turn, pages in enumerate(writes):
            if turn in compacted:
                store.compact()
            store.write(pages)

        found = everything(store, Matcher("__name__", "=", "all"))

    (samples,) = found.values()
    assert samples == dict(zip([T0, T0 + 2, T0 + 5], bits([3, 4, 2]), strict=True))


def test_within_one_write_and_one_page_the_later_wins_too(tmp_path: Path) -> None:
    twice = Page.of(WEB, T0, {ALL: 1})
    doubled = timed_page(WEB, [(ALL, T0 + 1, 5), (ALL, T0 + 1, 6), (ALL, T0 + 2, 7)])
    with opened(tmp_path / "x.db") as store:
        store.write([twice, Page.of(WEB, T0, {ALL: 2}), doubled])

        (found,) = everything(store).values()

    assert found == dict(zip([T0, T0 + 1, T0 + 2], bits([2, 6, 7]), strict=True))


def test_times_of_its_own_may_be_anywhere(tmp_path: Path) -> None:
    hour = 60 * MINUTE
    times = [T0 + 9 * hour, T0, T0 - 300 * hour, 0, -5]
    with opened(tmp_path / "x.db", now_ms=T0 + 20 * hour) as store:
        store.write([timed_page(WEB, [(ALL, at, at / 7) for at in times])])
        before = everything(store)
        store.compact()
        after = everything(store)

        (recent,) = everything(store, start_ms=T0, end_ms=T0 + 10 * hour).values()

    (found,) = before.values()
    assert found == {at: bits([at / 7])[0] for at in sorted(times)}
    assert after == before
    assert list(recent) == [T0, T0 + 9 * hour]


def test_different_targets_and_lines_may_make_one_series(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        store.write([page(WEB, T0, {line("m"): 1}), page(DB, T0, {line("n"): 1})])
        own = line("m", **WEB.as_dict())
        store.write([page(Labels(), T0 + 1, {own: 2}), page(Labels(), T0, {own: 3})])

        found = everything(store, Matcher("__name__", "=", "m"))

    assert found == {WEB.merged(line("m")): dict(zip([T0, T0 + 1], bits([3, 2]), strict=True))}


def test_a_layout_that_changes_goes_on_in_the_same_series(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        store.write([page(WEB, T0, {ALL: 1, line("b"): 2})])
        store.write([page(WEB, T0 + 1, {line("a"): 0, ALL: 3})])
        store.write([page(WEB, T0 + 2, {ALL: 4, line("b"): 5})])

        found = everything(store)

    assert found[WEB.merged(ALL)] == dict(zip(range(T0, T0 + 3), bits([1, 3, 4]), strict=True))
    assert list(found[WEB.merged(line("b"))]) == [T0, T0 + 2]


LIMITS = [
    pytest.param(Hints(max_samples=19), "too many samples", id="one sample too many"),
    pytest.param(Hints(max_series=3), "more than 3 series", id="one series too many"),
    pytest.param(Hints(max_samples=20, max_series=4), "", id="just as many as allowed"),
    pytest.param(Hints(), "", id="no limit"),
]


@pytest.mark.parametrize(("hints", "expected"), LIMITS)
@pytest.mark.parametrize("form", ["pages", "timed pages", "chunks"])
def test_limits(tmp_path: Path, form: str, hints: Hints, expected: str) -> None:
    lines = {line(name): 1.0 for name in "abcd"}
    with opened(tmp_path / "x.db", now_ms=T0 + 60 * MINUTE) as store:
        for k in range(5):
            store.write([
                timed_page(WEB, [(one, T0 + k, k) for one in lines])
                if form == "timed pages" else page(WEB, T0 + k, lines)
            ])  # fmt: skip
        if form == "chunks":
            store.compact(CompactionLimits())
        if expected:
            with pytest.raises(QueryError, match=expected) as raised:
                store.select([], T0, T0 + 9, hints)
            assert raised.value.error_type == "execution"
        else:
            assert len(store.select([], T0, T0 + 9, hints)) == 4


def test_too_many_matchers_are_refused(fleet: EmbeddedStore) -> None:
    with pytest.raises(QueryError, match="60 matchers"):
        fleet.select([Matcher("a", "!=", str(k)) for k in range(61)], T0, T0, Hints())


def test_metadata_of_the_last_word(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store, opened(tmp_path / "x.db") as other:
        store.describe({"a": Metadata("gauge", "old"), "b": Metadata("counter", "é", "bytes")})
        other.describe({"a": Metadata("counter", "new")})
        store.describe({"b": Metadata("counter", "é", "bytes")})

        assert store.metadata() == {
            "a": Metadata("counter", "new"), "b": Metadata("counter", "é", "bytes"),
        }  # fmt: skip


def test_empty_pages_and_no_pages_are_fine(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        store.write([])
        store.write([Page.of(WEB, T0, {}), page(DB, T0, {ALL: 1})])

        assert list(everything(store)) == [DB.merged(ALL)]
        assert store.select([], T0 + 1, T0, Hints()) == []


def test_a_fresh_store_has_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "deep" / "x.db") as store:
        assert everything(store) == {}
        assert store.labels([], T0, T0) == store.label_values("a", [], T0, T0) == []
        assert store.series([], T0, T0) == []
        assert store.metadata() == {}
        assert store.compact().pages == 0
        assert store.stats().oldest_ms is None


def test_what_another_store_on_the_file_wrote_is_seen(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store, opened(tmp_path / "x.db") as other:
        for turn, writer in enumerate([store, other, other, store]):
            shared = {line("m", turn=str(turn)): 1.0, ALL: float(turn)}
            writer.write([page(WEB, T0 + turn, shared), page(Labels.of(t=str(turn)), T0, shared)])
            assert everything(store) == everything(other)
            assert len(store.series([], T0, T0 + 9)) == len(everything(store))
        assert list(everything(store)[WEB.merged(ALL)]) == [T0, T0 + 1, T0 + 2, T0 + 3]


def test_layouts_and_lines_are_shared_by_targets(tmp_path: Path) -> None:
    layout = Layout((line("a"), line("b")))
    with opened(tmp_path / "x.db") as store:
        for host in range(20):
            store.write([page(Labels.of(host=str(host)), T0, dict.fromkeys(layout.lines, 1.0))])

        stats = store.stats()

    assert (stats.targets, stats.lines, stats.layouts, stats.pages) == (20, 2, 1, 20)


def test_a_failed_write_leaves_nothing_and_the_next_goes_on(tmp_path: Path) -> None:
    broken = page(Labels.of(host="\ud800"), T0, {line("new"): 1})
    with opened(tmp_path / "x.db") as store:
        with pytest.raises(StorageError, match="cannot be stored") as raised:
            store.write([page(WEB, T0, {ALL: 1}), broken])
        assert not raised.value.retriable
        assert everything(store) == {}
        store.write([page(WEB, T0, {ALL: 2}), page(DB, T0, {line("new"): 3})])

        assert [*everything(store)] == [WEB.merged(ALL), DB.merged(line("new"))]


def test_a_time_out_of_range_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        for bad in (1 << 60, -(1 << 60)):
            with pytest.raises(StorageError, match="Unix milliseconds"):
                store.write([page(WEB, bad, {ALL: 1})])
            with pytest.raises(StorageError, match="Unix milliseconds"):
                store.write([timed_page(WEB, [(ALL, T0, 1), (ALL, bad, 1)])])


def test_threads_share_one_store(tmp_path: Path) -> None:
    hosts = [Labels.of(host=str(number)) for number in range(4)]

    def work(host: Labels) -> list[int]:
        seen = []
        for turn in range(15):
            store.write([page(host, T0 + turn, {ALL: turn, line("m", turn=str(turn)): 1})])
            found = everything(store, Matcher("host", "=", host.get("host")))
            seen.append(len(found[host.merged(ALL)]))
        return seen

    with opened(tmp_path / "x.db") as store, ThreadPoolExecutor(len(hosts)) as threads:
        assert list(threads.map(work, hosts)) == [list(range(1, 16))] * len(hosts)
        assert len(everything(store)) == len(hosts) * 16


def test_a_page_from_the_wrong_century_slows_nothing(tmp_path: Path) -> None:
    """Seconds sent as milliseconds land in 1970; who asks "from ever" must not pay for the gap."""
    with opened(tmp_path / "x.db", now_ms=T0 + 60 * MINUTE) as store:
        store.write([page(WEB, T0 // 1000, {ALL: 1}), page(WEB, T0, {ALL: 2})])
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        for _ in range(2):
            (found,) = everything(store).values()
            assert list(found) == [T0 // 1000, T0]
            store.compact()
        with store._database.reading() as db:
            db.set_progress_handler(step, 1000)
            found_spans = spans_between(db, FROM_EVER, FOR_EVER)
            db.set_progress_handler(None, 0)
    assert len(found_spans) == 2
    assert steps < 10
