"""The shipped rules: what they fire on, and that Prometheus' own tool thinks the same of them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rules.files import SHIPPED, check_rule_file, find_files, load_groups
from rules.templates import check
from tests.rules_unittest import Case, read_tests, run

UNIT_TESTS = Path(__file__).parent / "data" / "rules" / "shipped_test.yml"
FILES = find_files([], Path(), shipped=True)
GROUPS = load_groups(FILES, 10.0)
RULES = [rule for group in GROUPS for rule in group.rules]

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)


@pytest.mark.parametrize(
    ("test", "cases"),
    [pytest.param(test, cases, id=test["name"]) for test, cases in read_tests(UNIT_TESTS)],
)
def test_what_fires(test: dict[str, Any], cases: list[Case]) -> None:
    found = run(UNIT_TESTS, test, cases)
    assert found == {case.id: case.expected for case in cases}


def test_there_are_fifteen_in_three_groups() -> None:
    assert (len(RULES), len(GROUPS)) == (15, 3)


def test_every_rule_has_a_test_that_fires() -> None:
    fired = {case.alert for _, cases in read_tests(UNIT_TESTS) for case in cases if case.expected}
    assert fired == {rule.name for rule in RULES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_have_no_faults(path: Path) -> None:
    assert check_rule_file(path) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_says_what_to_do(rule: Any) -> None:
    assert dict(rule.labels)["severity"] in ("warning", "critical")
    annotations = dict(rule.annotations)
    assert set(annotations) == {"summary", "description", "hint"}
    for text in annotations.values():
        check(text)
        assert "\n" not in text


@pytest.mark.peer
@needs_promtool
def test_promtool_takes_the_files() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", *map(str, sorted(SHIPPED.glob("*.yml")))],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.peer
@needs_promtool
def test_promtool_fires_on_the_same() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", str(UNIT_TESTS)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
