"""PromQL scripts: the project's own, and Prometheus' where they are at hand."""

import os
import textwrap
from pathlib import Path

import pytest

from fleetpulse.promql.engine import Engine
from fleetpulse.storage.base import SeriesReader
from tests.promqlscript import ScriptError, parse_script
from tests.promqltest import Outcome, run_script

OWN = Path(__file__).parent / "data" / "promql"
DEFAULT = OWN / "default"
# What came of each of Prometheus' scripts; RENEW_GOLDEN=1 writes it anew.
RECORD = OWN / "peer_scripts.txt"
# Beside the repository or further out, where the scripts are at hand.
PEER = next(
    (
        up / "shared/promqltest"
        for up in Path(__file__).parents
        if (up / "shared/promqltest").is_dir()
    ),
    OWN / "none",
)

# Expected values that the script itself has rounded, with the error that it allows: 1e-6.
ROUNDED = {
    "functions.test": ["stddev_over_time(metric[2m])", "stddev_over_time((metric[2m]))"],
    "trig_functions.test": ["sinh(trig)"],
}


def make_engine(reader: SeriesReader) -> Engine:
    """As Prometheus runs its scripts: with experimental functions and delayed name removal."""
    return Engine(reader, experimental=True, delayed_name_removal=True)


def scripts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.test"))


def run(path: Path) -> list[Outcome]:
    rounded = dict.fromkeys(ROUNDED.get(path.name, ()), 1e-6)
    return list(run_script(path.read_text(), make_engine, rounded))


def told(outcomes: list[Outcome]) -> str:
    return "\n".join(f"line {o.case.line}: {o.case.expr}: {o.reason}" for o in outcomes)


def all_pass(outcomes: list[Outcome]) -> None:
    assert outcomes
    wrong = [outcome for outcome in outcomes if outcome.verdict != "passed"]
    assert not wrong, told(wrong)


@pytest.mark.parametrize("path", scripts(OWN), ids=lambda path: path.stem)
def test_own_script_passes(path: Path) -> None:
    all_pass(run(path))


@pytest.mark.parametrize("path", scripts(DEFAULT), ids=lambda path: path.stem)
def test_own_script_for_an_engine_as_it_is_by_default_passes(path: Path) -> None:
    all_pass(list(run_script(path.read_text(), Engine)))


@pytest.fixture(scope="module")
def peer() -> dict[str, list[Outcome]]:
    if not PEER.is_dir():
        pytest.skip("Prometheus' test scripts are not at hand (shared/promqltest)")
    return {path.name: run(path) for path in scripts(PEER)}


def test_every_case_of_floats_in_prometheus_scripts_passes(peer: dict[str, list[Outcome]]) -> None:
    wrong = {
        name: told([one for one in outcomes if one.verdict == "failed"])
        for name, outcomes in peer.items()
    }
    assert not {name: text for name, text in wrong.items() if text}


def test_what_is_not_run_of_prometheus_scripts_is_on_record(peer: dict[str, list[Outcome]]) -> None:
    """Evals that touch native histograms are skipped: each by its line, so that none is lost."""
    found = record(peer)
    if os.environ.get("RENEW_GOLDEN"):
        RECORD.write_text(found)
    assert found == RECORD.read_text(), "RENEW_GOLDEN=1 writes it anew; look at the difference"


def record(peer: dict[str, list[Outcome]]) -> str:
    lines = [
        "# Evals of Prometheus' test scripts: how many pass, and the lines of those not run",
        "# because they touch native histograms.",
    ]
    passed = skipped = 0
    for name, outcomes in peer.items():
        native = [one.case.line for one in outcomes if one.verdict == "native"]
        good = sum(one.verdict == "passed" for one in outcomes)
        passed, skipped = passed + good, skipped + len(native)
        lines.append(f"{name}: {good} passed, {len(native)} skipped")
        numbers = " ".join(map(str, native))
        lines += textwrap.wrap(numbers, 96, initial_indent="  ", subsequent_indent="  ")
    lines.append(f"all: {passed} passed, {skipped} skipped")
    return "\n".join(lines) + "\n"


BROKEN = [
    pytest.param("load 1m\n  metric 1 oops", "line 1: no value: oops", id="a value that is none"),
    pytest.param("eval sometime metric", "line 1: no command", id="an unknown command"),
    pytest.param('load 1m\n  metric{a="b" 1', "line 1: no closing brace", id="an open brace"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_broken_script_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        parse_script(text)


WRONG = [
    pytest.param("eval instant at 1m metric\n  metric 7", "got 2.0", id="another value"),
    pytest.param("eval instant at 1m metric\n  other 2", "missing", id="another series"),
    pytest.param("eval instant at 1m metric\n  expect fail", "did not fail", id="no failure"),
    pytest.param(
        "eval instant at 1m metric\n  expect warn\n  metric 2", "expected warn", id="no warning"
    ),
    pytest.param(
        "eval range from 0 to 1m step 1m metric\n  metric 1 _", "got 2.0", id="a value too many"
    ),
    pytest.param("eval instant at 1m 2 * 3\n  7", "got 6.0", id="another scalar"),
    pytest.param('eval instant at 1m "a"\n  expect string "b"', "got 'a'", id="another string"),
    pytest.param(
        "eval instant at 1m {__name__=~'metric|second'}\n  expect ordered\n  second 5\n  metric 2",
        "order",
        id="another order",
    ),
]


@pytest.mark.parametrize(("question", "reason"), WRONG)
def test_runner_sees_what_is_wrong(question: str, reason: str) -> None:
    loaded = "load 1m\n  metric 1 2 3\n  second 5x2\n\n"
    (outcome,) = run_script(loaded + question, make_engine)
    assert outcome.verdict == "failed"
    assert reason in outcome.reason
