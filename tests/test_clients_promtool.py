"""promtool's queries of this API, and of a Prometheus that holds the same samples."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.peer_programs import FleetPulse, prometheus
from tests.promql_fakes import fleet
from tests.promql_peer import open_metrics
from tests.support import needs

pytestmark = [pytest.mark.integration, pytest.mark.peer, needs("prometheus", "promtool")]

_FRACTION = re.compile(r"\b\d+\.\d+(?:e[+-]\d+)?\b")
BASE = 1_700_000_000
# No sample lies on the bound of a window: there Prometheus 2 and 3 differ.
AT, START, END = f"{BASE + 1_501.234}", f"{BASE + 901.234}", f"{BASE + 2_101.234}"


@dataclass(frozen=True)
class Pair:
    """Two servers with the same samples; what promtool prints of them, in twelve digits.

    Sums are in another order here and there, and so is their last digit.
    """

    theirs: str
    ours: str

    def asked(self, *command: str) -> tuple[str, str]:
        """What promtool prints of each; URL stands for the server's address."""
        return _run(command, self.theirs), _run(command, self.ours)


def _run(command: tuple[str, ...], url: str) -> str:
    words = [url if word == "URL" else word for word in command]
    done = subprocess.run(["promtool", "query", *words], capture_output=True, timeout=60)
    text = f"{done.returncode} {done.stderr.decode()}{done.stdout.decode()}"
    return _FRACTION.sub(lambda found: f"{float(found[0]):.12g}", text)


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
    pytest.param("sort(load)", id="sorted"),
    pytest.param("sort_desc(rate(cpu_total[5m]))", id="sorted down, of rates"),
    pytest.param("sum by (mode) (cpu_total)", id="a sum"),
    pytest.param("1 / 0", id="a scalar"),
    pytest.param("vector(1e6)", id="a large number"),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_instant(pair: Pair, expression: str) -> None:
    theirs, ours = pair.asked("instant", f"--time={AT}", "URL", expression)
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
    if expression.startswith("sort"):
        assert ours == theirs
    assert theirs.startswith("0 ")
    assert len(theirs) > 3


def test_an_empty_answer(pair: Pair) -> None:
    theirs, ours = pair.asked("instant", f"--time={AT}", "URL", "nothing_of_the_name")
    assert ours == theirs


def test_a_fault(pair: Pair) -> None:
    theirs, ours = pair.asked("instant", f"--time={AT}", "URL", "sum(load")
    begin, fault = "1 query error: bad_data: ", "1:9: parse error: unclosed left parenthesis\n"
    for answer in (theirs, ours):
        assert answer.startswith(begin)
        assert answer.endswith(fault)


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("load", id="a selector"),
        pytest.param("sum by (mode) (rate(cpu_total[5m]))", id="a sum of rates"),
        pytest.param("time()", id="a scalar"),
    ],
)
def test_range(pair: Pair, expression: str) -> None:
    times = (f"--start={START}", f"--end={END}", "--step=60s")
    theirs, ours = pair.asked("range", *times, "URL", expression)
    assert ours == theirs
    assert theirs.count("\n") > 20


@pytest.mark.parametrize(
    ("matches", "count"),
    [
        pytest.param(["load"], 3, id="a name"),
        pytest.param(['{__name__=~"took_.*"}', "info"], 4, id="two selectors"),
        pytest.param(["nothing_of_the_name"], 0, id="nothing"),
    ],
)
def test_series(pair: Pair, matches: list[str], count: int) -> None:
    chosen = [f"--match={match}" for match in matches]
    theirs, ours = pair.asked("series", *chosen, f"--start={START}", f"--end={END}", "URL")
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
    assert theirs.count("{") >= count


@pytest.mark.parametrize(
    ("name", "count"), [("__name__", 4), ("mode", 2), ("host", 3), ("nothing_of_the_name", 0)]
)
def test_labels(pair: Pair, name: str, count: int) -> None:
    theirs, ours = pair.asked("labels", f"--start={START}", f"--end={END}", "URL", name)
    assert ours == theirs
    assert len(theirs.splitlines()) >= count
