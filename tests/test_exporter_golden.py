"""Whole pages of fake hosts of several shapes; `make golden` writes them anew."""

import os
import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from exporter.page import OPENMETRICS, TEXT, render
from exporter.registry import Registry
from tests.exporter_fakes import DATA, every_collector

SHAPES = ["vm", "metal", "laptop", "old"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_page_of_a_fake_host_is_the_golden_one(shape: str) -> None:
    registry = Registry(every_collector(shape), 5.0)
    try:
        parts = registry.gather()
    finally:
        registry.close()
    page = render(parts, TEXT).decode()
    steady = re.sub(r"(?m)^(node_scrape_collector_duration_seconds\{.*\}) .*$", r"\1 0", page)
    steady = steady.replace(str(DATA / shape), "")  # a power zone is told with its path
    golden: Path = DATA / f"{shape}.prom"
    if os.environ.get("RENEW_GOLDEN"):
        golden.write_text(steady)
    assert steady == golden.read_text()
    # What others read of it is what we wrote, in either format.
    assert len(list(plain(page))) == page.count("# TYPE ")
    assert len(list(openmetrics(render(parts, OPENMETRICS).decode()))) == page.count("# TYPE ")


def test_no_value_of_the_fake_hosts_is_dropped() -> None:
    for shape in SHAPES:
        assert (
            "fleetpulse_exporter_invalid_values_total" not in (DATA / f"{shape}.prom").read_text()
        )
