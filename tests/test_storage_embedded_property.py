"""Random pages in random order, compacted at random points, against a dict."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import STALE_NAN, Labels, Layout, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits
from tests.store_fakes import MINUTE, T0, bits, everything, line, opened, samples_of, timed_page

# No two of them make the same labels, for which compaction may forget who was later.
TARGETS = [Labels(), Labels.of(job="a", instance="x"), Labels.of(job="b", instance="y")]
LINES = [line("m"), line("m", mode="i"), line("n", job="own"), line("n", instance=""), line("o")]

# Few times, so that they often meet; on both sides of a span's border, and one far back.
TIMES = st.one_of(
    st.integers(-2, 2).map(lambda k: T0 + k * 10_000),
    st.integers(-20, 20).map(lambda k: T0 + k * MINUTE),
    st.just(T0 - 9_000_000),
)
VALUES = st.one_of(
    st.sampled_from([STALE_NAN, float("nan"), 0.0, -0.0, float("inf"), 1.0]),
    st.floats(allow_nan=False),
)
LINE_SETS = st.lists(st.sampled_from(LINES), min_size=1, max_size=5, unique=True)
MATCHERS = [
    [], [Matcher("__name__", "=", "m")], [Matcher("job", "=~", "b|own")],
    [Matcher("instance", "!=", "x"), Matcher("mode", "=", "")], [Matcher("mode", "=~", ".+")],
]  # fmt: skip


@st.composite
def plain_pages(draw: st.DrawFn) -> Page:
    lines = draw(LINE_SETS)
    values = draw(st.lists(VALUES, min_size=len(lines), max_size=len(lines)))
    found = dict(zip(lines, values, strict=True))
    return Page.of(draw(st.sampled_from(TARGETS)), draw(TIMES), found)


@st.composite
def timed_pages(draw: st.DrawFn) -> Page:
    samples = [(one, draw(TIMES), draw(VALUES)) for one in draw(LINE_SETS)]
    return timed_page(draw(st.sampled_from(TARGETS)), samples)


@dataclass(frozen=True)
class Write:
    pages: list[Page]


@dataclass(frozen=True)
class Compact:
    """At a time that lets all, some or no pages be old enough."""

    min_age: float
    gather: float
    batch_pages: int


STEPS = st.lists(
    st.one_of(
        st.builds(Write, st.lists(st.one_of(plain_pages(), timed_pages()), max_size=6)),
        st.builds(
            Compact,
            st.sampled_from([0.0, 1200.0, 1800.0, 3600.0]),
            st.sampled_from([0.0, 600.0]),
            st.sampled_from([1, 3, 1000]),
        ),
    ),
    max_size=8,
)


@dataclass
class Model:
    """What a store is: samples by labels and time, the last one written stays."""

    samples: dict[Labels, dict[int, int]] = field(default_factory=dict)

    def write(self, page: Page) -> None:
        times = page.times_ms or [page.at_ms] * len(page.layout)
        for one, at, value in zip(page.layout.lines, times, bits(page.values), strict=True):
            self.samples.setdefault(page.target.merged(one), {})[at] = value

    def select(
        self, matchers: list[Matcher], start_ms: int, end_ms: int
    ) -> dict[Labels, dict[int, int]]:
        cut = {
            labels: {at: found[at] for at in sorted(found) if start_ms <= at <= end_ms}
            for labels, found in self.samples.items()
            if all_match(matchers, labels)
        }
        return {labels: cut[labels] for labels in sorted(cut) if cut[labels]}


def fresh(page: Page) -> Page:
    """The page with a layout object of its own, as another scrape loop would bring it."""
    return Page(page.target, Layout(page.layout.lines), page.at_ms, page.values, page.times_ms)


# Shrinking what each takes a dozen of SQLite transactions would last minutes.
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(steps=STEPS, start=TIMES, end=TIMES, step_ms=st.sampled_from([10_000, 70_000, 4_000_000]))
def test_the_store_gives_back_what_a_dict_would(
    steps: list[Write | Compact], start: int, end: int, step_ms: int
) -> None:
    model = Model()
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder, "x.db"), now_ms=T0 + 30 * MINUTE) as store,
    ):
        for step in steps:
            if isinstance(step, Compact):
                store.compact(CompactionLimits(step.min_age, step.gather, step.batch_pages))
                continue
            for page in step.pages:
                model.write(page)
            store.write([fresh(page) for page in step.pages])
        for matchers in MATCHERS:
            assert everything(store, *matchers) == model.select(matchers, -(1 << 60), 1 << 60)
            found = everything(store, *matchers, start_ms=start, end_ms=end)
            assert found == model.select(matchers, start, end)
            assert set(found) <= set(store.series([matchers], start, end))
            thinned = samples_of(store.select(matchers, start, end, Hints(step_ms=step_ms)))
            assert at_steps(thinned, start, end, step_ms) == at_steps(found, start, end, step_ms)


def at_steps(
    series: dict[Labels, dict[int, int]], start: int, end: int, step_ms: int
) -> dict[Labels, list[tuple[int, int]]]:
    """By series, the newest sample at each step back from the end."""
    return {
        labels: [
            max(past)
            for step in range(end, start - 1, -step_ms)
            if (past := [(at, value) for at, value in samples.items() if at <= step])
        ]
        for labels, samples in series.items()
    }
