"""What becomes of a line of a page: its labels against the target's, relabelling, limits.

Done once for every line ever seen, not once a scrape. A layout's line says what it changes about
the target's labels: a label of its own wins, one with an empty value takes the target's away.
"""

import weakref
from collections.abc import Callable, Hashable

from fleetpulse.exposition import PageReader
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.values import is_label_name, is_metric_name
from scraper.relabel import Rule, relabel
from scraper.targets import Job, Target

# Prometheus' report series; each ends every page of its target.
REPORT_LINES = tuple(
    Labels.of({METRIC_NAME: name})
    for name in (
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    )
)
# What extra_scrape_metrics adds to them.
EXTRA_REPORT_LINES = tuple(
    Labels.of({METRIC_NAME: name})
    for name in ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")
)
_EXPORTED = "exported_"


def report_lines(job: Job) -> tuple[Labels, ...]:
    return REPORT_LINES + EXTRA_REPORT_LINES if job.extra_metrics else REPORT_LINES


Keep = Callable[[Labels], Labels | None]


def keeper(target: Target) -> Keep:
    """The function that turns a line as written into the layout's line, or None to drop it.

    It raises ValueError where a limit is passed or no name is left: that fails the page.
    """
    rules, own = target.job.metric_rules, target.labels
    settle = _as_written if target.job.config.honor_labels else _renamed
    checks = [check for check in (_names(target), _limits(target)) if check is not None]

    def keep(line: Labels) -> Labels | None:
        settled: Labels | None = settle(line, own)
        if rules and settled is not None:
            settled = _relabelled(settled, own, rules)
        if settled is not None:
            for check in checks:
                check(settled)
        return settled

    return keep


def _as_written(line: Labels, own: Labels) -> Labels:
    """honor_labels: the page's word counts. Empty labels matter only where they take one away."""
    names = {name for name, _ in own}
    if all(value for _, value in line):
        return line
    return Labels(pair for pair in line if pair[1] or pair[0] in names)


def _renamed(line: Labels, own: Labels) -> Labels:
    """The target's word counts; a label of the page in its way becomes exported_…"""
    taken = {name for name, _ in own}
    if not any(not value or name in taken for name, value in line):
        return line
    pairs = [(name, value) for name, value in line if value and name not in taken]
    names = taken | {name for name, _ in pairs}
    # The shorter name first, as in Prometheus: it has the better claim to exported_…
    conflicts = [(name, value) for name, value in line if value and name in taken]
    for conflicting, value in sorted(conflicts, key=lambda pair: len(pair[0])):
        name = conflicting
        while name in names:
            name = _EXPORTED + name
        names.add(name)
        pairs.append((name, value))
    return Labels.from_pairs(pairs)


def _relabelled(line: Labels, own: Labels, rules: tuple[Rule, ...]) -> Labels | None:
    full = own.merged(line).as_dict()
    if not relabel(full, rules) or not full:
        return None
    if not full.get(METRIC_NAME):
        raise ValueError(f"metric_relabel_configs leave no metric name of {line}")
    was = own.as_dict()
    # What the line said stays said, equal or not: other targets may share the answer.
    said = {name for name, _ in line}
    pairs = {n: value for n, value in full.items() if n in said or was.get(n) != value}
    pairs |= {name: "" for name in was if name not in full}
    return Labels(sorted(pairs.items()))


def _names(target: Target) -> Callable[[Labels], None] | None:
    """Refuses names that only UTF-8 allows, where metric_name_validation_scheme is legacy."""
    if not target.job.legacy_names:
        return None

    def check(line: Labels) -> None:
        for name, value in target.labels.merged(line):
            if name == METRIC_NAME and not is_metric_name(value):
                raise ValueError(f"{value[:80]!r} is no metric name before UTF-8")
            if not is_label_name(name):
                raise ValueError(f"{name[:80]!r} is no label name before UTF-8")

    return check


def _limits(target: Target) -> Callable[[Labels], None] | None:
    limits = target.job.limits
    count, name_length, value_length = limits.labels, limits.name_length, limits.value_length
    if not (count or name_length or value_length):
        return None

    def check(line: Labels) -> None:
        labels = target.labels.merged(line)
        if count and len(labels) > count:
            raise ValueError(f"{len(labels)} labels, label_limit is {count}: {str(line)[:200]}")
        for name, value in labels:
            if name_length and len(name.encode()) > name_length:
                raise ValueError(f"label_name_length_limit is {name_length}: {name[:80]}")
            if value_length and len(value.encode()) > value_length:
                raise ValueError(f"label_value_length_limit is {value_length}: label {name[:80]}")

    return check


class Readers:
    """One PageReader for all targets whose lines come out alike; they share their layouts."""

    def __init__(self) -> None:
        self._readers: weakref.WeakValueDictionary[Hashable, PageReader] = (
            weakref.WeakValueDictionary()
        )

    @property
    def known(self) -> int:
        """Lines of pages that are remembered."""
        return sum(reader.known for reader in list(self._readers.values()))

    @property
    def shapes(self) -> int:
        return sum(reader.shapes for reader in list(self._readers.values()))

    def of(self, target: Target) -> PageReader:
        key = _sharing_key(target)
        reader = self._readers.get(key)
        if reader is None:
            reader = PageReader(keeper(target), report_lines(target.job))
            self._readers[key] = reader
        return reader


def _sharing_key(target: Target) -> Hashable:
    """Equal for targets whose keepers give the same answer to every line."""
    job = target.job
    names = frozenset(name for name, _ in target.labels)
    limits = job.limits
    lengths = (limits.labels, limits.name_length, limits.value_length)
    common = (
        job.config.honor_labels,
        names,
        job.config.metric_relabel_configs,
        lengths,
        job.legacy_names,
        job.extra_metrics,
    )
    touched = any(rule.touches(names) for rule in job.metric_rules)
    if any(lengths) or job.legacy_names or touched:
        return (*common, target.labels)
    return common
