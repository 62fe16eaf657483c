"""Every name of a default node_exporter is told, with its type and labels, on one host or other.

names.tsv lists them as version 1.5 tells them on a Debian machine: name, type, labels.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.app import ExporterApp
from exporter.config import ExporterConfig
from exporter.settings.names import CollectorsConfig
from tests.exporter_fakes import DATA

# What a page has besides the collectors' parts: it tells of the exporter itself.
_OWN = ("process_", "node_exporter_build_info")
# Type and labels, by the name of the samples.
Names = dict[str, tuple[str, frozenset[str]]]


def listed() -> Iterator[tuple[str, str, frozenset[str]]]:
    with (DATA / "names.tsv").open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            yield row["name"], row["type"], frozenset(filter(None, row["labels"].split(",")))


def told(page: str) -> Names:
    """ValueError where the series of a name differ in their labels."""
    names: Names = {}
    for family in text_string_to_metric_families(page):
        kind = {"unknown": "untyped"}.get(family.type, family.type)
        for sample in family.samples:
            here = (kind, frozenset(sample.labels))
            if names.setdefault(sample.name, here) != here:
                raise ValueError(f"{sample.name}: {here}, elsewhere {names[sample.name]}")
    return names


@pytest.fixture(scope="module")
def golden() -> Names:
    names: Names = {}
    for page in sorted(DATA.glob("*.prom")):
        names |= told(page.read_text())
    return names


@pytest.fixture
def own(tmp_path: Path) -> Names:
    config = ExporterConfig(collectors=CollectorsConfig(defaults=False))
    return told(ExporterApp(config, tmp_path).render())


def missing(names: Mapping[str, object], is_own: bool) -> list[tuple[str, object, object]]:
    return [
        (name, (kind, labels), names.get(name))
        for name, kind, labels in listed()
        if name.startswith(_OWN) is is_own and names.get(name) != (kind, labels)
    ]


def test_the_list_is_all_there() -> None:
    assert len(list(listed())) == 253


def test_the_fake_hosts_tell_all_that_collectors_are_to_tell(golden: Names) -> None:
    assert missing(golden, is_own=False) == []


def test_the_page_tells_all_of_the_exporter_itself(own: Names) -> None:
    assert missing(own, is_own=True) == []
