"""What the store counts of its series, beside a count of all of them one by one."""

import random
from collections import Counter
from pathlib import Path

from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.storage.base import Cardinality, Counts, CountsSeries
from tests.store_fakes import FOR_EVER, FROM_EVER, T0, line, opened, page


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        assert store.cardinality(5) == Cardinality(0, 0, 0, None, None, [], [], [], [])


def test_it_counts_what_is_there(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        assert isinstance(store, CountsSeries)
        write_some(store)
        held = [dict(labels) for labels in store.series([], FROM_EVER, FOR_EVER)]
        pairs = Counter(pair for labels in held for pair in labels.items())
        found = store.cardinality(1000)
        assert found.series == len(held) > 50
        assert found.label_pairs == len(pairs)
        names = Counter(labels[METRIC_NAME] for labels in held)
        values = Counter(name for name, _ in pairs)
        sizes = Counter[str]()
        for (name, value), count in pairs.items():
            sizes[name] += len(value) * count
        assert dict(found.series_by_name) == names
        assert dict(found.values_by_label) == values
        assert dict(found.bytes_by_label) == sizes
        assert dict(found.series_by_pair) == {f"{n}={v}": count for (n, v), count in pairs.items()}
        for one in (found.series_by_name, found.series_by_pair, found.bytes_by_label):
            assert falling(one)
        few = store.cardinality(2)
        assert list(few.series_by_pair) == list(found.series_by_pair)[:2]
        assert few.series == found.series
        assert (found.oldest_ms, found.newest_ms) == (T0, T0 + 5 * 60_000 - 1)
        assert found.recent == 30


def write_some(store: object) -> None:
    """Targets of several shapes, lines that take a target's label away or set another."""
    rng = random.Random(1)
    lines = [line(f"m{number % 4}", cpu=str(number)) for number in range(12)]
    lines += [line("m1", job="own"), line("m2", rack=""), line("only")]
    for number in range(30):
        target = Labels.of({"job": "node", "instance": f"h{number % 15}", "rack": str(number % 3)})
        chosen = dict.fromkeys(rng.sample(lines, 6), 1.0)
        store.write([page(target, T0 + (number % 5) * 60_000, chosen)])  # type: ignore[attr-defined]


def falling(counts: Counts) -> bool:
    numbers = [count for _, count in counts]
    return numbers == sorted(numbers, reverse=True)
