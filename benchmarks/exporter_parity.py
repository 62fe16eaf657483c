"""Our exporter beside Debian's node_exporter on this host: what a change-over would show.

Prints names that are missing or extra, differences of type and labels, and values further apart
than the time between two scrapes explains: theirs must lie between two of ours, at least once in
several rounds, since a host that is at work changes between any two. Exit code 1 if anything is
left over. Run: python benchmarks/exporter_parity.py [ROUNDS]
"""

import sys
from dataclasses import dataclass

from exporter_pair import Subject, pair
from prometheus_client.parser import text_string_to_metric_families

# Each exporter's own sockets, files and threads are among what these count while it looks.
_MOVED_BY_LOOKING = ("node_sockstat_", "node_filefd_", "node_procs_")
_MOVED_BY = 16.0
# Of the exporters themselves: their processes, their Go, their handlers' durations.
_THEIR_OWN = ("go_", "promhttp_", "fleetpulse_")
_OF_EACH = ("process_", "node_exporter_build_info", "node_scrape_collector_duration_seconds")
# Collectors of node_exporter's for hardware and file systems that ours leaves out; on a host that
# has none of it they tell nothing but that they were run.
_NOT_OURS = {"bcache", "btrfs", "fibrechannel", "infiniband", "ipvs", "nfs", "nfsd", "systemd",
             "tapestats"}  # fmt: skip

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Page:
    """types by metric name; values by series."""

    types: dict[str, str]
    values: dict[Series, float]


def page(subject: Subject) -> Page:
    text, found = subject.get().decode(), Page({}, {})
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            if not name.startswith(_THEIR_OWN):
                found.types[name] = kind
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in found.types and sample.labels.get("collector") not in _NOT_OURS:
                found.values[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def labels_of(one: Page) -> dict[str, set[frozenset[str]]]:
    names: dict[str, set[frozenset[str]]] = {}
    for name, labels in one.values:
        names.setdefault(name, set()).add(frozenset(key for key, _ in labels))
    return names


def differences(ours: Page, theirs: Page) -> dict[str, list[str]]:
    mine, peers = labels_of(ours), labels_of(theirs)
    both = sorted(ours.types.keys() & theirs.types.keys())
    compared = [key for key in theirs.values.keys() ^ ours.values.keys()
                if not key[0].startswith(_OF_EACH)]  # fmt: skip
    return {
        "missing names": sorted(theirs.types.keys() - ours.types.keys()),
        "extra names": sorted(ours.types.keys() - theirs.types.keys()),
        "types": [
            f"{name}: {ours.types[name]}, theirs {theirs.types[name]}"
            for name in both
            if ours.types[name] != theirs.types[name]
        ],
        "labels": [
            f"{name}: {sorted(map(sorted, mine[name]))}, theirs {sorted(map(sorted, peers[name]))}"
            for name in both
            if mine.get(name) != peers.get(name)
        ],
        "series of one side": sorted(
            f"{'ours' if key in ours.values else 'theirs'}: {key[0]} {dict(sorted(key[1]))}"
            for key in compared
        ),
    }


def apart(before: Page, theirs: Page, after: Page) -> dict[Series, str]:
    """Series whose value of theirs lies not between our two."""
    return {
        key: f"{key[0]} {dict(sorted(key[1]))}: {value}, ours {low} and {high}"
        for key, value in theirs.values.items()
        if not key[0].startswith(_OF_EACH)
        and (low := before.values.get(key)) is not None
        and (high := after.values.get(key)) is not None
        and not _between(key[0], low, value, high)
    }


def _between(name: str, low: float, value: float, high: float) -> bool:
    low, high = min(low, high), max(low, high)
    slack = _MOVED_BY if name.startswith(_MOVED_BY_LOOKING) else 1e-9 * max(1.0, abs(value))
    return low - slack <= value <= high + slack


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with pair() as (ours, theirs):
        page(ours), page(theirs)
        found = differences(page(ours), page(theirs))
        wrong: dict[Series, str] | None = None
        for _ in range(rounds):
            now = apart(page(ours), page(theirs), page(ours))
            wrong = now if wrong is None else {key: now[key] for key in now if key in wrong}
            if not wrong:
                break
        compared = len(page(theirs).values)
    found["values"] = list((wrong or {}).values())
    for title, lines in found.items():
        print(f"{title}: {len(lines) or 'none'}", *(f"\n  {line}" for line in lines), sep="")
    print(f"{compared} series of theirs compared")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
