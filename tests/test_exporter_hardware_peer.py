"""The collectors of hardware beside Debian's node_exporter, on the same fake hosts."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from exporter.collectors.base import Collector, NoDataError
from exporter.collectors.powersupplyclass import PowersupplyclassCollector
from exporter.collectors.rapl import RaplCollector
from tests.exporter_hardware import HARDWARE, SHAPES, fake_host, page
from tests.peer_programs import served
from tests.support import free_port

pytestmark = [pytest.mark.integration, pytest.mark.peer]

_HOSTS = ("metal", "laptop", "old", "vm")
# Names and labels that node_exporter has only since a later version than Debian's 1.5.
_LATER = {
    ("node_cpu_scaling_governor", ""): "since 1.6",
    ("node_hwmon_freq_freq_mhz", "sclk"): "clocks of graphics chips since 1.9",
    ("node_hwmon_sensor_label", "freq1"): "clocks of graphics chips since 1.9",
}
# 1.5 has thousandths by a multiplication with 0.001, we by a division: the last digit differs.
_CLOSE = 1e-12

_OF_ITSELF = ("node_exporter_", "node_scrape_")

Key = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture(scope="module", params=_HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def theirs(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with node_exporter(host, tmp_path_factory.mktemp("proc")) as url:
        yield url


@contextmanager
def node_exporter(host: str, nothing: Path, *flags: str) -> Iterator[str]:
    """The URL of one that looks at the fake host; nothing: an empty folder."""
    path = shutil.which("prometheus-node-exporter")
    if path is None:
        pytest.skip("prometheus-node-exporter is missing; apt install prometheus-node-exporter")
    proc, port = SHAPES / host / "proc", free_port()
    command = [
        path,
        f"--web.listen-address=127.0.0.1:{port}",
        f"--path.procfs={proc if proc.is_dir() else nothing}",
        f"--path.sysfs={SHAPES / host / 'sys'}",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in HARDWARE),
        *flags,
    ]
    with served(command, f"http://127.0.0.1:{port}/metrics") as url:
        yield url


@pytest.mark.parametrize("name", HARDWARE)
def test_names_types_labels_and_values_are_node_exporters(
    host: str, theirs: str, name: str
) -> None:
    text = requests.get(theirs, params={"collect[]": name}, timeout=10).text
    types, values = told(text)
    ours, succeeded = our_page(host, name)
    our_types, our_values = told(ours)
    known = {key: value for key, value in our_values.items() if not later(key)}
    assert set(known) == set(values)
    assert known == pytest.approx(values, rel=_CLOSE, abs=0)
    assert {metric: our_types[metric] for metric, _ in known} == types
    success = f'node_scrape_collector_success{{collector="{name}"}} {int(succeeded)}'
    assert success in text.splitlines()


def our_page(host: str, name: str) -> tuple[str, bool]:
    try:
        return page(HARDWARE[name](fake_host(host))), True
    except NoDataError:
        return "", False


def later(key: Key) -> bool:
    name, labels = key
    return (name, dict(labels).get("sensor", "")) in _LATER


def told(text: str) -> tuple[dict[str, str], dict[Key, float]]:
    """Types and values, without what an exporter tells of itself."""
    types, values = dict[str, str](), dict[Key, float]()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("node_") and not sample.name.startswith(_OF_ITSELF):
                types[sample.name] = family.type
                # A label without a value is none.
                labels = frozenset(pair for pair in sample.labels.items() if pair[1])
                values[sample.name, labels] = sample.value
    return types, values


SETTINGS = [
    pytest.param("metal", "--collector.rapl.enable-zone-label",
                 RaplCollector(fake_host("metal"), zone_label=True), id="zones as a label"),
    pytest.param("laptop", "--collector.powersupply.ignored-supplies=BAT|^A$",
                 PowersupplyclassCollector(fake_host("laptop"), re.compile("BAT|^A$")),
                 id="supplies that are ignored"),
]  # fmt: skip


@pytest.mark.parametrize(("host_name", "flag", "collector"), SETTINGS)
def test_settings_mean_the_same(
    host_name: str, flag: str, collector: Collector, tmp_path: Path
) -> None:
    with node_exporter(host_name, tmp_path, flag) as url:
        text = requests.get(url, params={"collect[]": collector.name}, timeout=10).text
    types, values = told(text)
    our_types, our_values = told(page(collector))
    assert (our_types, our_values) == (types, pytest.approx(values, rel=_CLOSE, abs=0))
    assert values


def test_there_is_a_fake_host_with_hardware_of_each_kind() -> None:
    assert {name for name in HARDWARE for host in _HOSTS if our_page(host, name)[0]} == {*HARDWARE}
