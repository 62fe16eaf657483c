"""Pages kept in memory between selections: a reader that has been asked before answers no other."""

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import STALE_NAN, Labels, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore, RecentPages
from tests.store_fakes import (
    FOR_EVER,
    FROM_EVER,
    MINUTE,
    T0,
    everything,
    line,
    opened,
    page,
    samples_of,
    timed_page,
)

HOSTS = [Labels.of(instance=name) for name in "abcd"]
LINES = [line("m"), line("m", mode="i"), line("n"), *(line("o", n=str(k)) for k in range(70))]
NOW = T0 + 30 * MINUTE
ALL = CompactionLimits(min_age=0, gather=0)
MATCHERS = [[], [Matcher("__name__", "=", "m")], [Matcher("n", "=~", "6.")]]

# Few, so that they often meet.
TIMES = st.sampled_from([T0 - 9_000_000, T0, T0 + 10_000, NOW - 20 * MINUTE, NOW - MINUTE, NOW])
HOSTS_DRAWN = st.sampled_from(HOSTS)


@st.composite
def pages(draw: st.DrawFn) -> Page:
    width = draw(st.sampled_from([1, 2, 3, len(LINES)]))
    value = draw(st.one_of(st.just(STALE_NAN), st.floats(allow_nan=False)))
    if draw(st.integers(0, 5)) == 0:
        return timed_page(draw(HOSTS_DRAWN), [(one, draw(TIMES), value) for one in LINES[:width]])
    return page(draw(HOSTS_DRAWN), draw(TIMES), dict.fromkeys(LINES[:width], value))


Act = Callable[[EmbeddedStore], object]


def write(found: list[Page]) -> Act:
    return lambda store: store.write(found)


def compact(min_age: float, batch_pages: int) -> Act:
    return lambda store: store.compact(CompactionLimits(min_age, 0, batch_pages))


def delete(start_ms: int, minutes: int) -> Act:
    end_ms = start_ms + minutes * MINUTE
    return lambda store: store.delete([Matcher("__name__", "!=", "n")], start_ms, end_ms)


def expire(minutes: int) -> Act:
    return lambda store: store.expire(60 * minutes)


ACTS = st.lists(
    st.one_of(
        st.builds(write, st.lists(pages(), max_size=6)),
        st.builds(write, st.lists(pages(), max_size=6)),
        st.builds(compact, st.sampled_from([0, 300, 1500]), st.sampled_from([1, 1000])),
        st.builds(delete, TIMES, st.integers(0, 20)),
        st.builds(expire, st.sampled_from([10, 200])),
    ),
    max_size=10,
)


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    acts=ACTS,
    asked=st.lists(st.tuples(st.sampled_from(MATCHERS), TIMES), min_size=1, max_size=3),
    max_bytes=st.sampled_from([2_000, 20_000, 64 << 20]),
)
def test_what_is_kept_answers_as_the_file_does(
    acts: list[Act], asked: list[tuple[list[Matcher], int]], max_bytes: int
) -> None:
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "x.db")
        writer = stack.enter_context(opened(path, now_ms=NOW))
        kept, without = (
            EmbeddedStore(path, read_only=True, recent=one)
            for one in (RecentPages(max_bytes, 1), RecentPages(least_targets=1 << 30))
        )
        stack.callback(kept.close)
        stack.callback(without.close)
        for act in acts:
            act(writer)
            for matchers, start in asked:
                found, plain = (
                    samples_of(one.select(matchers, start, FOR_EVER, Hints()))
                    for one in (kept, without)
                )
                assert found == plain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def turn(at_ms: int) -> list[Page]:
    return [page(host, at_ms, {one: float(at_ms) for one in LINES}) for host in HOSTS]


def test_an_id_that_is_given_out_again_is_another_page(path: Path) -> None:
    with opened(path, now_ms=NOW) as writer:
        reader = EmbeddedStore(path, read_only=True, recent=RecentPages(least_targets=1))
        writer.write(turn(NOW))
        writer.write(turn(T0))
        assert len(everything(reader, start_ms=NOW)) == len(HOSTS) * len(LINES)
        writer.compact(CompactionLimits(min_age=600, gather=0))
        # Those of T0 were written last and are gone: these get their numbers.
        writer.write(turn(NOW + 1000))
        assert everything(reader, start_ms=NOW) == everything(writer, start_ms=NOW)
        assert len(everything(reader, start_ms=NOW)[HOSTS[0].merged(LINES[0])]) == 2
        reader.close()


def test_what_expires_is_not_answered_from_memory(path: Path) -> None:
    with opened(path, now_ms=NOW) as writer:
        reader = EmbeddedStore(path, read_only=True, recent=RecentPages(least_targets=1))
        for at in (T0 - 3 * 86_400_000, T0, NOW):
            writer.write(turn(at))
        assert len(everything(reader)[HOSTS[0].merged(LINES[0])]) == 3
        writer.expire(600)
        assert len(everything(reader)[HOSTS[0].merged(LINES[0])]) == 2
        reader.close()


def test_a_page_that_comes_late_is_seen(path: Path) -> None:
    with opened(path, now_ms=NOW) as writer:
        reader = EmbeddedStore(path, read_only=True, recent=RecentPages(least_targets=1))
        for at in (NOW, T0, T0 - 9_000_000, NOW - 10):
            writer.write(turn(at))
            for start in (NOW - MINUTE, FROM_EVER):
                found = everything(reader, start_ms=start)
                assert found == everything(writer, start_ms=start)
        reader.close()


def test_a_damaged_page_is_left_out_and_counted(path: Path) -> None:
    kinds: list[str] = []
    with opened(path) as writer:
        writer.write([*turn(T0), *turn(T0 + MINUTE)])
    with closing(sqlite3.connect(path)) as db:
        (blob,) = db.execute("SELECT vals FROM page WHERE id = 1").fetchone()
        db.execute("UPDATE page SET vals = ? WHERE id = 1", (b"\xff" + blob[1:],))
        db.commit()
    recent = RecentPages(least_targets=1)
    reader = EmbeddedStore(path, read_only=True, on_damage=kinds.append, recent=recent)
    for _ in range(2):
        found = everything(reader, Matcher("__name__", "=", "m"))
        assert sum(map(len, found.values())) == 2 * 8 - 2
    assert kinds == ["page"]
    reader.close()


def test_no_more_samples_than_the_limit_are_loaded(path: Path) -> None:
    with opened(path) as writer:
        writer.write(turn(T0))
    reader = EmbeddedStore(path, read_only=True, recent=RecentPages(least_targets=1))
    count = len(HOSTS) * len(LINES)
    for _ in range(2):
        found = reader.select([], FROM_EVER, FOR_EVER, Hints(max_samples=count))
        assert len(found) == count
        with pytest.raises(QueryError, match="too many samples"):
            reader.select([], FROM_EVER, FOR_EVER, Hints(max_samples=count - 1))
    reader.close()
