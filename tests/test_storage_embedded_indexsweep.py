"""Index rows that nothing needs go in several transactions, between which others write."""

from collections.abc import Callable
from pathlib import Path

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Page
from fleetpulse.storage.embedded import EmbeddedStore, verify
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.indexsweep import IndexSweep
from fleetpulse.storage.embedded.pace import Pace
from tests.store_fakes import MINUTE, T0, everything, line, opened, page

DAY = 86_400_000
COUNT = 300  # more than the least that a transaction takes
HOSTS = [Labels.of(host=str(number)) for number in range(COUNT)]


def slow(between: Callable[[int], None]) -> Pace:
    """The least possible in a transaction; between is called after each with its number."""
    now, turns = [0.0], [-9]

    def clock() -> float:
        now[0] += 60.0
        return now[0]

    def rest(_seconds: float) -> None:
        turns[0] += 1
        if turns[0] > 0:
            between(turns[0])

    pace = Pace(clock, rest)
    for _ in range(9):
        with pace.turn():
            pass
    return pace


def scrape(number: int, at_ms: int) -> Page:
    """Each host has a line, and so a layout, of its own."""
    lines = {line("own", n=str(number)): 1.0, line("shared"): 2.0}
    return page(HOSTS[number], at_ms, lines)


def fill(store: EmbeddedStore) -> None:
    store.write([scrape(number, T0) for number in range(COUNT)])


def sweep(path: Path, before_ms: int, between: Callable[[int], None]) -> tuple[int, int]:
    database = Database(path, read_only=False)
    try:
        return IndexSweep(database, slow(between)).run(before_ms)
    finally:
        database.close()


def test_what_nobody_holds_goes_in_parts(tmp_path: Path) -> None:
    path, seen = tmp_path / "x.db", list[int]()
    with opened(path) as store:
        fill(store)
        store.write([scrape(7, T0 + DAY)])
        assert sweep(path, T0 + DAY // 2, seen.append) == (COUNT - 1, COUNT - 1)
        assert len(seen) > 3
        stats = store.stats()
        assert (stats.targets, stats.lines, stats.layouts) == (1, 2, 1)
        assert sweep(path, T0 + DAY // 2, seen.append) == (0, 0)
    assert not verify(path).findings


def test_what_is_used_again_meanwhile_stays(tmp_path: Path) -> None:
    """By a host that comes back with what it had, and by one that has another's line."""
    path, at_ms = tmp_path / "x.db", T0 + DAY
    with opened(path) as store:
        fill(store)

        def write(part: int) -> None:
            back = COUNT - part
            other = page(HOSTS[back - 20], at_ms, {line("own", n=str(back - 40)): 3.0})
            store.write([scrape(back, at_ms), other])

        sweep(path, T0 + DAY // 2, write)
        found = everything(store, start_ms=at_ms - MINUTE)
        parts = len(found) // 3
        assert parts > 3
        for part in range(1, parts + 1):
            back = COUNT - part
            for host, number, name in [(back, back, "own"), (back - 20, back - 40, "own")]:
                labels = HOSTS[host].merged(line(name, n=str(number)))
                assert list(found[labels]) == [at_ms]
        again = everything(store, Matcher("__name__", "=", "shared"), start_ms=at_ms - MINUTE)
        assert len(again) == parts
    assert not verify(path).findings


def test_a_sweep_that_is_cut_off_is_done_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    def cut(part: int) -> None:
        if part == 3:
            raise KeyboardInterrupt

    with opened(path) as store:
        fill(store)
        try:
            sweep(path, T0 + DAY, cut)
        except KeyboardInterrupt:
            left = store.stats()
        assert left.targets + left.lines > 0
        sweep(path, T0 + DAY, lambda _part: None)
        stats = store.stats()
        assert (stats.targets, stats.lines, stats.layouts) == (0, 0, 0)
