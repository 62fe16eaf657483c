"""An hour of samples for comparing engines: what real exporters send, and what only bad ones do."""

import random
from collections.abc import Callable

from fleetpulse.model import Labels, Series
from tests.promql_fakes import series

SCRAPE_MS = 15_000
SPAN_MS = 3_600_000
HOSTS = "abcde"
BOUNDS = ("0.1", "0.5", "2", "+Inf")


def held(start_ms: int, seed: int = 1) -> list[Series]:
    """An hour of counters with resets and gaps, gauges, histograms, and series that come and go.

    Times are jittered and never on a whole second or its last 100 ms; values are multiples of
    1/64, so that no sum of them is rounded.
    """
    rng = random.Random(seed)
    found: list[Series] = []

    def add(name: str, value: Callable[[int], float], **labels: str) -> None:
        samples = [(at, value(at)) for at in _times(rng, labels["host"], name)]
        moved = [(start_ms + at, one) for at, one in samples]
        found.append(series(Labels.of(__name__=name, **labels), moved))

    for host in HOSTS:
        for mode in ("idle", "user", "system"):
            add("cpu_total", _counter(rng, 40.0), host=host, mode=mode)
        add("load", lambda _: rng.randrange(-640, 6400) / 64, host=host)
        add("odd", lambda _: _strange(rng), host=host)
        add("build_info", lambda _: 1.0, host=host, version=f"1.{ord(host) % 2}")
        for sensor in "xy":
            add("temp", lambda _: rng.randrange(1000, 5000) / 64, host=host, sensor=sensor)
        buckets = [_counter(rng, 4.0, whole=True) for _ in BOUNDS]
        times = _times(rng, host, "took")
        rows = [[count(at) for count in buckets] for at in times]
        for place, bound in enumerate(BOUNDS):
            sums = [
                (start_ms + at, sum(row[: place + 1])) for at, row in zip(times, rows, strict=True)
            ]
            found.append(series(Labels.of(__name__="took_bucket", host=host, le=bound), sums))
        add("took_sum", _counter(rng, 9.0), host=host)
    return found


def _times(rng: random.Random, host: str, name: str) -> list[int]:
    """When a series has samples: temp comes late and goes early on some hosts; gaps of minutes."""
    begin, end = 0, SPAN_MS
    if name == "temp":
        begin, end = rng.choice([(0, SPAN_MS), (900_000, SPAN_MS), (0, 2_400_000)])
    # Where counters fall there are no gaps: what is extrapolated there changed with version 3.
    hole = rng.randrange(0, SPAN_MS) if name in ("load", "temp", "odd") or host == "e" else -1
    return [
        at + 1 + rng.randrange(0, 890)
        for at in range(begin, end, SCRAPE_MS)
        if not hole <= at < hole + 420_000 and rng.random() < 0.99
    ]


def _counter(rng: random.Random, rise: float, *, whole: bool = False) -> Callable[[int], float]:
    """Starts high, so that no extrapolation meets zero; falls now and then."""
    total = float(rng.randrange(1 << 20, 1 << 21))
    falls = {rng.randrange(0, SPAN_MS // SCRAPE_MS) for _ in range(2)}

    def value(at: int) -> float:
        nonlocal total
        total += rng.randrange(0, int(rise)) if whole else rng.randrange(0, int(rise * 64)) / 64
        if at // SCRAPE_MS in falls and not whole:
            total = float(int(total * 0.9))
        return total

    return value


def _strange(rng: random.Random) -> float:
    chosen = rng.random()
    if chosen < 0.1:
        return rng.choice([float("nan"), float("inf"), float("-inf"), 0.0, -0.0])
    return rng.randrange(-6400, 6400) / 64
