"""promtool's queries of this API, and of a Prometheus that holds the same samples."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peer_programs import FleetPulse, prometheus
from tests.promql_fakes import fleet
from tests.promql_peer import open_metrics
from tests.support import needs

pytestmark = [pytest.mark.integration, pytest.mark.peer, needs("prometheus", "promtool")]

BASE = 1_700_000_000
# No sample lies on the bound of a window: there Prometheus 2 and 3 differ.
AT, START, END = f"{BASE + 1_501.234}", f"{BASE + 901.234}", f"{BASE + 2_101.234}"


@dataclass(frozen=True)
class Pair:
    """Two servers with the same samples."""

    theirs: str
    ours: str

    def asked(self, *command: str) -> tuple[str, str]:
        """What promtool prints of each; URL stands for the server's address."""
        return _run(command, self.theirs), _run(command, self.ours)


def _run(command: tuple[str, ...], url: str) -> str:
    words = [url if word == "URL" else word for word in command]
    done = subprocess.run(["promtool", "query", *words], capture_output=True, timeout=60)
    return f"{done.returncode} {done.stderr.decode()}{done.stdout.decode()}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("promtool")
    page = folder / "page.txt"
    page.write_text(open_metrics(fleet(BASE * 1000, ending=False)))
    blocks = folder / "prometheus" / "tsdb"
    making = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(blocks)]
    subprocess.run(making, check=True, capture_output=True, timeout=60)
    ever = "--storage.tsdb.retention.time=100y"
    with FleetPulse(folder, storage={"retention": {"raw": "100y", "tiers": "100y"}}) as ours:
        ours.run("import", str(page))
        ours.start("api")
        with prometheus(folder / "prometheus", {}, ever) as theirs:
            yield Pair(theirs, ours.url())


EXPRESSIONS = [
    pytest.param("sort(up)", id="sorted"),
    pytest.param("sort_desc(node_load1)", id="sorted down"),
    pytest.param("sum(rate(node_cpu_seconds_total[5m]))", id="a rate"),
    pytest.param("1 / 0", id="a scalar"),
    pytest.param("vector(1e6)", id="a large number"),
    pytest.param('"text"', id="a text"),
    pytest.param("nothing_of_the_name", id="an empty answer"),
    pytest.param("sum(", id="a fault"),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_instant(pair: Pair, expression: str) -> None:
    theirs, ours = pair.asked("instant", f"--time={AT}", "URL", expression)
    if expression.startswith("sum("):
        # The words of the parser's version 3, and the line and column in front, are our own.
        assert (ours[0], theirs[0]) == ("1", "1") or expression != "sum("
    if expression != "sum(":
        assert ours == theirs


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("up", id="a selector"),
        pytest.param("sum by (mode) (rate(node_cpu_seconds_total[5m]))", id="a sum of rates"),
        pytest.param("nothing_of_the_name", id="an empty answer"),
        pytest.param("time()", id="a scalar"),
    ],
)
def test_range(pair: Pair, expression: str) -> None:
    times = (f"--start={START}", f"--end={END}", "--step=60s")
    theirs, ours = pair.asked("range", *times, "URL", expression)
    assert ours == theirs


@pytest.mark.parametrize(
    "matches",
    [
        pytest.param(["up"], id="a name"),
        pytest.param(['{__name__=~"node_load.*"}', "up"], id="two selectors"),
        pytest.param(["nothing_of_the_name"], id="nothing"),
    ],
)
def test_series(pair: Pair, matches: list[str]) -> None:
    chosen = [f"--match={match}" for match in matches]
    theirs, ours = pair.asked("series", *chosen, f"--start={START}", f"--end={END}", "URL")
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())


@pytest.mark.parametrize("name", ["__name__", "mode", "instance", "nothing_of_the_name"])
def test_labels(pair: Pair, name: str) -> None:
    theirs, ours = pair.asked("labels", f"--start={START}", f"--end={END}", "URL", name)
    assert ours == theirs
