"""Reads over many slots and targets go another way; they must find the same."""

from array import array
from pathlib import Path

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Layout, Page
from tests.store_fakes import MINUTE, T0, everything, line, opened

HOSTS = [Labels.of(host=f"h{number:03}") for number in range(120)]
LAYOUT = Layout((line("a"), line("b")))


def test_a_long_time_and_many_targets(tmp_path: Path) -> None:
    """120 targets over 500 minutes are more seeks than it takes to read all of them."""
    with opened(tmp_path / "x.db") as store:
        for minute in (0, 1, 250, 499):
            at = T0 + minute * MINUTE
            store.write(
                [Page(host, LAYOUT, at, array("d", [minute, k])) for k, host in enumerate(HOSTS)]
            )
        store.write([Page(HOSTS[0], LAYOUT, T0, array("d", [7, 8]), array("q", [T0 + 1, T0 + 2]))])

        found = everything(store, Matcher("host", "!=", "h119"))

    assert len(found) == 119 * 2
    minutes = [T0, T0 + MINUTE, T0 + 250 * MINUTE, T0 + 499 * MINUTE]
    assert list(found[HOSTS[1].merged(line("a"))]) == minutes
    assert list(found[HOSTS[0].merged(line("b"))]) == sorted([*minutes, T0 + 2])


def test_one_metric_of_many_targets_from_chunks(tmp_path: Path) -> None:
    """Neighbouring targets are read in one go, of which some were not asked for."""
    with opened(tmp_path / "x.db", now_ms=T0 + 90 * MINUTE) as store:
        store.write([Page(host, LAYOUT, T0, array("d", [1, k])) for k, host in enumerate(HOSTS)])
        before = everything(
            store, Matcher("__name__", "=", "b"), Matcher("host", "=~", "h.*[02468]")
        )
        store.compact()
        after = everything(
            store, Matcher("__name__", "=", "b"), Matcher("host", "=~", "h.*[02468]")
        )

    assert len(after) == 60
    assert after == before
