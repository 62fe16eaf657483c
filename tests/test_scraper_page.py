"""From a page's body to what is stored: values, report series, staleness, labels, limits."""

from pathlib import Path
from typing import Any

import pytest

from fleetpulse.matchers import Matcher
from fleetpulse.model import STALE_NAN, Labels, Page, is_stale
from fleetpulse.storage.base import Hints
from scraper.lines import Readers
from scraper.owntimes import Rejected
from scraper.page import Outcome, Scrape, TargetPages
from tests.scraper_fakes import guards_of, job_of, samples_of, target_of
from tests.store_fakes import T0, opened

REPORT = {
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
}


def pages_of(
    readers: Readers | None = None, address: str = "web-1:9100", **job: Any
) -> TargetPages:
    return TargetPages(target_of(job_of(**job), address), readers or Readers(), guards_of())


def take(pages: TargetPages, at_ms: int, body: bytes) -> Scrape:
    return pages.take(Outcome(at_ms, 0.25, body))


def shown(pages: tuple[Page, ...]) -> dict[str, float | None]:
    """Value, or None for a marker, by series; labels of the target left out."""
    return {
        str(labels.without("job", "instance")): value
        for page in pages
        for labels, _, value in samples_of(page)
    }


def own(pages: tuple[Page, ...]) -> dict[str, float | None]:
    return {name: value for name, value in shown(pages).items() if name not in REPORT}


def test_a_page_and_its_report() -> None:
    scrape = take(pages_of(), 1000, b'a{x="1"} 5\nb 6\n')
    assert shown(scrape.pages) == {
        'a{x="1"}': 5,
        "b": 6,
        "up": 1,
        "scrape_duration_seconds": 0.25,
        "scrape_samples_scraped": 2,
        "scrape_samples_post_metric_relabeling": 2,
        "scrape_series_added": 2,
    }
    (page,) = scrape.pages
    assert page.target == Labels.of(job="node", instance="web-1:9100")
    assert (page.at_ms, page.times_ms, scrape.samples) == (1000, None, 2)


def test_the_layout_is_shared_over_time_and_between_targets() -> None:
    readers = Readers()
    one, other = pages_of(readers, "web-1:1"), pages_of(readers, "web-2:1")
    layouts = {
        id(page.layout)
        for pages in (one, other)
        for at_ms in (1, 2)
        for page in take(pages, at_ms, b"a 1\nb 2\n").pages
    }
    assert len(layouts) == 1


# pages in a row; "-" is a failed scrape. What the last one stores besides the report
SEQUENCES = [
    pytest.param([b"a 1\nb 2\n", b"a 3\nb 4\n"], {"a": 3, "b": 4}, id="nothing changes"),
    pytest.param([b"a 1\nb 2\n", b"a 3\n"], {"a": 3, "b": None}, id="a series vanishes"),
    pytest.param([b"a 1\nb 2\n", b"a 3\n", b"a 4\n"], {"a": 4}, id="it vanishes once"),
    pytest.param([b"a 1\n", b"-"], {"a": None}, id="the scrape fails"),
    pytest.param([b"a 1\n", b"-", b"-"], {}, id="it fails again"),
    pytest.param([b"a 1\n", b"-", b"b 2\n"], {"b": 2}, id="it comes back otherwise"),
    pytest.param([b"a 1\n", b"<"], {"a": None}, id="the page is broken"),
    pytest.param([b"-"], {}, id="it never worked"),
    pytest.param([b"a 1 7\nb 2\n", b"b 3\n"], {"b": 3}, id="its own timestamps: no marker"),
    pytest.param([b"a 1 7\nb 2\n", b"-"], {"b": None}, id="own timestamps and a failure"),
    pytest.param([b"a 1\n", b""], {"a": None}, id="an empty page is a page"),
]


@pytest.mark.parametrize(("bodies", "expected"), SEQUENCES)
def test_staleness(bodies: list[bytes], expected: dict[str, float | None]) -> None:
    pages = pages_of()
    for at_ms, body in enumerate(bodies, 1):
        outcome = Outcome(at_ms, 0.1, body)
        if body == b"-":
            outcome = Outcome(at_ms, 0.1, reason="connect", error="refused")
        scrape = pages.take(outcome)
    assert own(scrape.pages) == expected
    assert shown(scrape.pages)["up"] == (0 if bodies[-1] in (b"-", b"<") else 1)
    assert {page.at_ms for page in scrape.pages} == {len(bodies)}


def test_a_failure_tells_its_reason_and_report() -> None:
    pages = pages_of()
    take(pages, 1, b"a 1\n")
    scrape = take(pages, 2, b"a 1\nb\n")
    assert (scrape.reason, scrape.samples) == ("page", 0)
    assert scrape.error.startswith("the page cannot be read: line 2: ")
    report = {name: value for name, value in shown(scrape.pages).items() if name in REPORT}
    assert report == {
        "up": 0,
        "scrape_duration_seconds": 0.25,
        "scrape_samples_scraped": 1,  # as far as the page could be read
        "scrape_samples_post_metric_relabeling": 1,
        "scrape_series_added": 0,
    }


def test_series_added_counts_what_is_new() -> None:
    pages = pages_of()
    added = [
        shown(take(pages, at_ms, body).pages)["scrape_series_added"]
        for at_ms, body in enumerate([b"a 1\n", b"a 1\n", b"a 1\nb 1\nc 1\n", b"c 1\nd 1\n"])
    ]
    assert added == [1, 0, 2, 1]


def test_a_target_that_went_away_ends_with_its_report_series() -> None:
    pages = pages_of()
    assert pages.gone(1) == ()
    take(pages, 2, b"a 1\nb 1 7\n")
    ended = pages.gone(3)
    assert shown(ended) == dict.fromkeys(REPORT | {"a"})
    assert pages.gone(4) == ()


def test_after_a_failure_only_the_report_series_are_left_to_end() -> None:
    pages = pages_of()
    take(pages, 1, b"a 1\n")
    pages.take(Outcome(2, 0.1, reason="timeout"))
    assert shown(pages.gone(3)) == dict.fromkeys(REPORT)


def test_markers_are_the_very_bits() -> None:
    pages = pages_of()
    take(pages, 1, b"a NaN\n")
    (page,) = take(pages, 2, b"<").pages
    assert is_stale(page.values[0])
    assert is_stale(STALE_NAN)


def test_own_timestamps_are_kept_unless_not_honoured() -> None:
    (page,) = take(pages_of(), 9000, b"a 1 7\nb 2\n").pages
    assert page.times_ms is not None
    assert list(page.times_ms) == [7, 9000, 9000, 9000, 9000, 9000, 9000]
    pages = pages_of(honor_timestamps=False)
    (page,) = take(pages, 9000, b"a 1 7\nb 2\n").pages
    assert page.times_ms is None
    assert own(take(pages, 9001, b"b 2\n").pages) == {"a": None, "b": 2}


def test_what_is_far_in_the_future_is_no_sample() -> None:
    edge = 9000 + 600_000
    scrape = take(pages_of(), 9000, f"a 1 {edge}\nb 2 {edge + 1}\nc 3 {2**63 - 1}\nd 4\n".encode())
    (page,) = scrape.pages
    assert page.times_ms is not None
    assert list(page.times_ms[:2]) == [edge, 9000]
    assert own(scrape.pages) == {"a": 1, "d": 4}
    assert shown(scrape.pages)["scrape_series_added"] == 2
    assert (scrape.samples, scrape.rejected.out_of_bounds) == (2, 2)
    old = Outcome(9000, 0.1, b"a 1 -1e15\n# EOF\n", openmetrics=True)
    assert pages_of().take(old).rejected.out_of_bounds == 1
    unhonoured = take(pages_of(honor_timestamps=False), 9000, f"a 1 {2**62}\n".encode())
    assert unhonoured.rejected.total == 0


def stamped(pages: TargetPages, at_ms: int, body: str) -> tuple[list[tuple[int, float]], Rejected]:
    """Time and value of the samples of a that are stored, and what was not taken."""
    scrape = take(pages, at_ms, body.encode())
    found = [
        (time_ms, value)
        for page in scrape.pages
        for labels, time_ms, value in samples_of(page)
        if labels.name == "a" and value is not None
    ]
    return found, scrape.rejected


# pages in a row, each with what is stored of a and what is not taken: bounds, order, duplicates
STAMPS = [
    pytest.param(
        [("a 1 700\n", [(700, 1)], (0, 0, 0)), ("a 2 800\n", [(800, 2)], (0, 0, 0))], id="in order"
    ),
    pytest.param(
        [("a 1 700\n", [(700, 1)], (0, 0, 0)), ("a 2 600\n", [(700, 1)], (0, 1, 0))],
        id="an older one is not taken, the newest is stored again",
    ),
    pytest.param(
        [("a 1 700\n", [(700, 1)], (0, 0, 0)), ("a 2 700\n", [(700, 1)], (0, 0, 1))],
        id="another value for the same time",
    ),
    pytest.param(
        [("a NaN 700\nb 1\n", None, (0, 0, 0)), ("a NaN 700\nb 1\n", None, (0, 0, 0))],
        id="the same again, even if it is no number",
    ),
    pytest.param(
        [("a 1\n", [(1000, 1)], (0, 0, 0)), ("a 2 900\n", [], (0, 1, 0))],
        id="older than a sample without a time of its own",
    ),
    pytest.param(
        [("a 1 1500\n", [(1500, 1)], (0, 0, 0)), ("a 2\nb 1 5\n", [(1500, 1)], (0, 1, 0))],
        id="scraped before its own future",
    ),
    pytest.param(
        [("a 1 100\na 2 200\na 3 150\n", [(100, 1), (200, 2)], (0, 1, 0))],
        id="several times in one page",
    ),
    pytest.param(
        [("a 1 100\na 2 200\na 3 300\n", [(100, 1), (200, 2), (300, 3)], (0, 0, 0))],
        id="many times in one page",
    ),
    pytest.param(
        [("a 1 9000000\n", [], (1, 0, 0)), ("a 2 100\n", [(100, 2)], (0, 0, 0))],
        id="a time that cannot be does not hinder the next",
    ),
    pytest.param([("a 1\na 2\na 1\n", [(1000, 1)], (0, 0, 2))], id="twice without a time"),
]


@pytest.mark.parametrize("turns", STAMPS)
def test_samples_with_their_own_timestamps(turns: list[tuple[str, Any, tuple[int, ...]]]) -> None:
    pages = pages_of()
    for turn, (body, expected, rejected) in enumerate(turns):
        found, lost = stamped(pages, 1000 + turn, body)
        assert expected is None or found == expected
        assert (lost.out_of_bounds, lost.out_of_order, lost.duplicates) == rejected


def test_what_is_remembered_of_own_timestamps_has_a_bound() -> None:
    pages = pages_of()
    for turn in range(50):
        lines = "".join(f'a{{x="{turn}-{n}"}} 1 {turn}\n' for n in range(100))
        take(pages, 1000 + turn, lines.encode())
    assert len(pages._own_times._newest) <= 1300


def test_own_timestamps_can_be_tracked() -> None:
    pages = pages_of(track_timestamps_staleness=True)
    take(pages, 9000, b"a 1 7\nb 2\n")
    assert own(take(pages, 9001, b"b 2\n").pages) == {"a": None, "b": 2}


def full(pages: TargetPages, body: bytes) -> dict[str, str]:
    """All labels of the page's first series."""
    (page, *_) = take(pages, 1, body).pages
    return samples_of(page)[0][0].as_dict()


HONOR = [
    pytest.param(
        False, b'a{instance="x"} 1\n', {"instance": "web-1:9100", "exported_instance": "x"},
        id="the target's word counts",
    ),
    pytest.param(
        False, b'a{instance="x",exported_instance="y"} 1\n',
        {"instance": "web-1:9100", "exported_instance": "y", "exported_exported_instance": "x"},
        id="twice exported",
    ),
    pytest.param(
        False, b'a{exported_job="z",job="y"} 1\n',
        {"instance": "web-1:9100", "exported_job": "z", "exported_exported_job": "y"},
        id="the name exported is taken by the page itself",
    ),
    pytest.param(
        False, b'a{instance=""} 1\n', {"instance": "web-1:9100"}, id="an empty label is none"
    ),
    pytest.param(True, b'a{instance="x"} 1\n', {"instance": "x"}, id="the page's word counts"),
    pytest.param(True, b'a{instance=""} 1\n', {}, id="the page takes the label away"),
    pytest.param(True, b'a{zone=""} 1\n', {"instance": "web-1:9100"}, id="nothing to take away"),
]  # fmt: skip


@pytest.mark.parametrize(("honor", "body", "expected"), HONOR)
def test_labels_that_target_and_page_both_have(
    honor: bool, body: bytes, expected: dict[str, str]
) -> None:
    labels = full(pages_of(honor_labels=honor), body)
    assert labels == {"__name__": "a", "job": "node", **expected}


METRIC_RULES = [
    pytest.param(
        {"source_labels": ["__name__"], "target_label": "was"},
        {"__name__": "a", "was": "a", "x": "1"},
        id="a label is added",
    ),
    pytest.param(
        {"source_labels": ["instance"], "regex": "(.*):.*", "target_label": "host"},
        {"__name__": "a", "host": "web-1", "x": "1"},
        id="the target's labels are seen",
    ),
    pytest.param({"regex": "x", "action": "labeldrop"}, {"__name__": "a"}, id="one is dropped"),
    pytest.param(
        {"target_label": "__name__", "replacement": "b"}, {"__name__": "b", "x": "1"}, id="renamed"
    ),
]


@pytest.mark.parametrize(("rule", "expected"), METRIC_RULES)
def test_metric_relabelling(rule: dict[str, Any], expected: dict[str, str]) -> None:
    labels = full(pages_of(metric_relabel_configs=[rule]), b'a{x="1"} 1\n')
    assert labels == {"job": "node", "instance": "web-1:9100", **expected}


def test_metric_relabelling_may_take_a_target_label_away_or_replace_it() -> None:
    drop = {"regex": "instance", "action": "labeldrop"}
    assert full(pages_of(metric_relabel_configs=[drop]), b"a 1\n") == {
        "__name__": "a",
        "job": "node",
    }
    replace = {"target_label": "instance", "replacement": "all"}
    labels = full(pages_of(metric_relabel_configs=[replace]), b"a 1\n")
    assert labels["instance"] == "all"


def test_targets_share_no_line_that_depends_on_the_target() -> None:
    readers = Readers()
    rule = {"source_labels": ["instance"], "regex": "(.*):.*", "target_label": "host"}
    for address, host in (("web-1:1", "web-1"), ("web-2:1", "web-2")):
        pages = pages_of(readers, address, metric_relabel_configs=[rule])
        assert full(pages, b"a 1\n")["host"] == host


def test_targets_that_share_a_reader_are_told_apart_by_honoured_labels() -> None:
    readers = Readers()
    rule = {"source_labels": ["__name__"], "regex": "zzz", "action": "drop"}
    for address in ("web-1:1", "web-2:1"):
        pages = pages_of(readers, address, honor_labels=True, metric_relabel_configs=[rule])
        assert full(pages, b'a{instance="web-1:1"} 1\n')["instance"] == "web-1:1"


LIMITS = [
    pytest.param({"sample_limit": 1}, b"a 1\n", b"a 1\nb 2\n", "sample_limit", id="samples"),
    pytest.param({"label_limit": 3}, b"a 1\n", b'a{x="1"} 1\n', "label_limit", id="labels"),
    pytest.param(
        {"label_name_length_limit": 8}, b'a{x="1"} 1\n', b'a{xxxxxxxxx="1"} 1\n',
        "label_name_length_limit", id="a label name",
    ),
    pytest.param(
        {"label_value_length_limit": 10}, b'a{x="1"} 1\n', b'a{x="12345678901"} 1\n',
        "label_value_length_limit", id="a label value",
    ),
]  # fmt: skip


# pages in a row; - is a failure. scraped, left after relabelling, and added in the end
COUNTS = [
    pytest.param([b"a 1\nb 2\na 3\n"], (3, 3, 2), id="a sample is counted as often as it is there"),
    pytest.param([b"a 1\n", b"a 1\nb 2\nc"], (2, 2, 1), id="a broken page, as far as it goes"),
    pytest.param([b"a 1\nc", b"a 1\nc"], (1, 1, 0), id="what a broken page had is not new again"),
    pytest.param([b"a 1\nc", b"a 1\nb 1\n"], (2, 2, 1), id="nor in a good page after it"),
    pytest.param([b"a 1\nb 1\n", b"-", b"a 1\n"], (1, 1, 0), id="nor after a failure"),
    pytest.param([b"a 1\n", b"", b"a 1\n"], (1, 1, 0), id="nor after an empty page"),
    pytest.param([b"a 1\nb 1\n", b"a 1\n", b"b 1\n"], (1, 1, 1), id="but it is after a gap"),
    pytest.param([b"a 1\nb 2\nc 3\nd 4\n"], (4, 4, 3), id="over sample_limit"),
]


@pytest.mark.parametrize(("bodies", "counts"), COUNTS)
def test_the_counts_in_the_report(bodies: list[bytes], counts: tuple[int, int, int]) -> None:
    pages = pages_of(sample_limit=3)
    for at_ms, body in enumerate(bodies, 1):
        failed = Outcome(at_ms, 0.1, reason="connect", error="refused")
        scrape = pages.take(failed if body == b"-" else Outcome(at_ms, 0.1, body))
    said = shown(scrape.pages)
    assert counts == tuple(
        said[f"scrape_{name}"]
        for name in ("samples_scraped", "samples_post_metric_relabeling", "series_added")
    )


EXTRA = [
    pytest.param(Outcome(1, 0.1, b"a 1\n"), 4, id="a page"),
    pytest.param(Outcome(1, 0.1, b"a\n"), 2, id="a broken page"),
    pytest.param(Outcome(1, 0.1, reason="body_limit"), -1, id="too large a page"),
    pytest.param(Outcome(1, 0.1, reason="timeout"), 0, id="no page"),
]


@pytest.mark.parametrize(("outcome", "size"), EXTRA)
def test_extra_report_series(outcome: Outcome, size: int) -> None:
    said = shown(pages_of(extra_scrape_metrics=True, sample_limit=7).take(outcome).pages)
    assert said["scrape_timeout_seconds"] == 8
    assert said["scrape_sample_limit"] == 7
    assert said["scrape_body_size_bytes"] == size


def test_extra_report_series_come_and_go_with_a_reload() -> None:
    pages = pages_of()
    take(pages, 1, b"a 1\n")
    pages.configure(target_of(job_of(extra_scrape_metrics=True)))
    failed = shown(pages.take(Outcome(2, 0.1, reason="timeout")).pages)
    assert (failed["a"], failed["scrape_body_size_bytes"]) == (None, 0)
    take(pages, 3, b"a 1\n")
    ended = shown(pages.gone(4))
    assert ended == dict.fromkeys([*REPORT, "a", *(name for name in failed if name not in REPORT)])


NAMES = [
    pytest.param(b'{"a.b"} 1\n', "no metric name before UTF-8", id="a metric"),
    pytest.param(b'a{"b.c"="1"} 1\n', "no label name before UTF-8", id="a label"),
]


@pytest.mark.parametrize(("body", "error"), NAMES)
def test_names_from_before_utf8(body: bytes, error: str) -> None:
    assert take(pages_of(), 1, body).reason == ""
    scrape = take(pages_of(metric_name_validation_scheme="legacy"), 1, body)
    assert error in scrape.error


@pytest.mark.parametrize(("limit", "good", "bad", "error"), LIMITS)
def test_a_limit_fails_the_scrape(
    limit: dict[str, Any], good: bytes, bad: bytes, error: str
) -> None:
    pages = pages_of(**limit)
    assert take(pages, 1, good).reason == ""
    scrape = take(pages, 2, bad)
    assert scrape.reason
    assert error in scrape.error
    assert shown(scrape.pages)["up"] == 0


def test_new_settings_for_the_same_target_end_the_series_they_drop() -> None:
    readers = Readers()
    pages = pages_of(readers)
    take(pages, 1, b"a 1\nb 2\n")
    drop = {"source_labels": ["__name__"], "regex": "b", "action": "drop"}
    pages.configure(target_of(job_of(metric_relabel_configs=[drop])))
    assert own(take(pages, 2, b"a 1\nb 2\n").pages) == {"a": 1, "b": None}


def test_metadata_comes_when_it_is_new() -> None:
    pages = pages_of()
    assert take(pages, 1, b"# TYPE a gauge\na 1\n").metadata is not None
    assert take(pages, 2, b"# TYPE a gauge\na 2\n").metadata is None
    assert take(pages, 3, b"# TYPE a counter\na 2\n").metadata is not None


def test_the_shorter_of_two_conflicting_names_has_the_better_claim() -> None:
    target = target_of(job_of(), exported_job="t")
    pages = TargetPages(target, Readers(), guards_of())
    labels = full(pages, b'a{job="x",exported_job="y"} 1\n')
    assert labels == {
        "__name__": "a",
        "instance": "web-1:9100",
        "job": "node",
        "exported_job": "t",
        "exported_exported_job": "x",
        "exported_exported_exported_job": "y",
    }


def test_what_is_stored_in_place_of_a_sample_not_taken_changes_nothing(tmp_path: Path) -> None:
    pages, at_ms = pages_of(), T0
    bodies = [
        f"a 1 {T0 - 900}\nb 1 {T0 + 10**9}\n",
        f"a 2 {T0 - 950}\nb 2 {T0 - 800}\n",  # a is out of order, b comes at last
        f"a 3 {T0 - 900}\nb 3 {T0 - 700}\n",  # a has another value for the same time
        f"a 4 {T0 - 100}\na 5 {T0 - 50}\n",
    ]
    with opened(tmp_path / "store.db") as store:
        for turn, body in enumerate(bodies):
            store.write(take(pages, at_ms + turn, body.encode()).pages)
        found = {
            one.labels.name: list(zip(one.times_ms - T0, one.values, strict=True))
            for one in store.select([Matcher("job", "=", "node")], 0, T0 * 2, Hints())
        }
    assert found["a"] == [(-900, 1), (-100, 4), (-50, 5)]
    assert found["b"] == [(-800, 2), (-700, 3)]
