"""PromQL scripts: the project's own, and Prometheus' where they are at hand."""

from pathlib import Path

import pytest

from fleetpulse.promql.engine import Engine
from fleetpulse.storage.base import SeriesReader
from tests.promqlscript import ScriptError, parse_script
from tests.promqltest import Outcome, run_script

OWN = Path(__file__).parent / "data" / "promql"
PEER = Path(__file__).parents[2] / "shared" / "promqltest"

# What Prometheus answers and this engine refuses, by script: part of the expression, and why.
UNSUPPORTED = {
    "aggregators.test": {
        r'count_values("a\xc5z", version)': "a string that is not UTF-8 is refused by the parser",
    },
    "functions.test": {
        r'label_replace(testmetric, "\xff", "", "src", "(.*)")': "the same",
    },
}
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


@pytest.mark.parametrize("path", scripts(OWN), ids=lambda path: path.stem)
def test_own_script_passes(path: Path) -> None:
    outcomes = run(path)
    assert outcomes
    wrong = [outcome for outcome in outcomes if outcome.verdict != "passed"]
    assert not wrong, told(wrong)


@pytest.mark.skipif(not PEER.is_dir(), reason=f"no Prometheus test scripts in {PEER}")
@pytest.mark.parametrize("path", scripts(PEER), ids=lambda path: path.stem)
def test_peer_script_passes_but_for_what_is_not_supported(path: Path) -> None:
    """A listed expression has to answer "not supported"; all others have to be right."""
    known = UNSUPPORTED.get(path.name, {})
    outcomes = [outcome for outcome in run(path) if outcome.verdict != "native"]
    wrong = [
        outcome
        for outcome in outcomes
        if (outcome.verdict == "failed" and "not supported" in outcome.reason)
        != any(part in outcome.case.expr for part in known)
        or (outcome.verdict == "failed" and "not supported" not in outcome.reason)
    ]
    assert not wrong, told(wrong)
    unused = [p for p in known if not any(p in outcome.case.expr for outcome in outcomes)]
    assert not unused, f"no eval has {unused}"


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
