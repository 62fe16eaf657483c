"""Rule files: what is read from them, and every fault of them at once."""

import textwrap
from pathlib import Path

import pytest

from fleetpulse.errors import ConfigError
from rules.files import check_rule_file, find_files, load_groups
from tests.rules_fakes import specs


def test_a_file_becomes_groups(tmp_path: Path) -> None:
    (first, second) = specs(
        tmp_path,
        """
        groups:
          - name: one
            interval: 1m
            limit: 5
            query_offset: 30s
            labels: {team: core, severity: none}
            rules:
              - alert: Down
                expr: |
                  up
                    == 0
                for: 5m
                keep_firing_for: 1m
                labels: {severity: page, prio: 1}
                annotations: {summary: "{{ $labels.instance }}"}
          - name: two
            rules:
              - {record: "job:up:sum", expr: sum(up)}
        """,
    )
    (down,) = first.rules
    assert (first.interval, first.limit, first.query_offset) == (60.0, 5, 30.0)
    assert (down.kind, down.name, down.hold, down.keep_firing) == ("alerting", "Down", 300.0, 60.0)
    assert dict(down.labels) == {"team": "core", "severity": "page", "prio": "1"}
    assert dict(down.annotations) == {"summary": "{{ $labels.instance }}"}
    assert second.interval == 10.0
    assert (second.rules[0].kind, second.rules[0].name) == ("recording", "job:up:sum")


@pytest.mark.parametrize("text", ["", "groups:\n", "groups: []\n", "groups: [{name: a}]\n"])
def test_a_file_may_be_empty(tmp_path: Path, text: str) -> None:
    assert all(not group.rules for group in specs(tmp_path, text))


EVERYTHING = """\
groups:
- name: a
  interval: banana
  rules:
  - alert: X
    expr: sum(up
    for: 5
    labels: {bad-name: x, severity: "{{ $x }}"}
    annotations:
      summary: "{{ foo }}"
      description: |
        one
        {{ end }}
  - record: 'a{b}'
    expr: up[5m]
    annotations: {a: b}
    fro: 1m
- name: a
  limit: -1
  rules:
  - expr: up
  - alert: Y
    record: z
    expr: ""
  - alert: Z
"""

FAULTS = [
    "3: groups[0].interval: 'banana' is no duration; write for example 10s, 5m, 1h30m or 7d",
    "6: groups[0].rules[0].expr: 1:7: parse error: unclosed left parenthesis",
    "7: groups[0].rules[0].for: 5 has no unit; write for example 10s, 5m or 1h30m",
    "8: groups[0].rules[0].labels.bad-name: 'bad-name' is no label name; use letters, digits and "
    "_, not first a digit",
    "8: groups[0].rules[0].labels.severity: template line 1: undefined variable $x",
    "10: groups[0].rules[0].annotations.summary: template line 1: function 'foo' is not defined",
    "11: groups[0].rules[0].annotations.description: template line 2: unexpected {{end}}; "
    "nothing is open here",
    "14: groups[0].rules[1].record: 'a{b}' is no metric name; use letters, digits, _ and :, "
    "as in job:up:sum",
    "15: groups[0].rules[1].expr: gives a matrix; a rule needs an instant vector or a scalar",
    "16: groups[0].rules[1].annotations: only an alert has this; take it out of the recording rule",
    "17: groups[0].rules[1].fro: no such key; did you mean for? known here: alert, annotations, "
    "expr, for, keep_firing_for, labels, record",
    "18: groups[1].name: groups[0] has the name 'a' too; choose another",
    "19: groups[1].limit: should be greater than or equal to 0",
    "21: groups[1].rules[0]: a rule needs the key alert (its name) or record (the new metric's "
    "name)",
    "22: groups[1].rules[1].alert: a rule has either alert or record, not both; split it in two",
    "24: groups[1].rules[1].expr: write a PromQL expression",
    "25: groups[1].rules[2].expr: missing; this key is needed",
]


def test_all_faults_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(EVERYTHING)
    assert check_rule_file(path) == [f"{path}:{fault}" for fault in FAULTS]


SINGLE = [
    ("- a\n", "1: write a mapping of keys, as in `key: value`"),
    ("groups: {a: b}\n", "1: groups: should be a valid list"),
    ("groups: [a]\n", "1: groups[0]: should be a valid dictionary or instance of GroupEntry"),
    ("groups: [{name: '', rules: []}]\n", "1: groups[0].name: a group needs a name"),
    ("groups:\n- rules: []\n", "2: groups[0].name: missing; this key is needed"),
    (
        "groups:\n- name: a\n  rules:\n  - {alert: X, expr: up, labels: {a: yes}}\n",
        '4: groups[0].rules[0].labels.a: write it in quotes, as in "true"',
    ),
    (
        "groups:\n- name: a\n  rules:\n  - {alert: X, expr: up, annotations: {a-b: x}}\n",
        "4: groups[0].rules[0].annotations.a-b: 'a-b' is no annotation name; "
        "use letters, digits and _, not first a digit",
    ),
    (
        "groups:\n- name: a\n  rules:\n  - {alert: X, expr: 'up{a=~\"(\"}'}\n",
        "4: groups[0].rules[0].expr: 1:4: parse error: '(' is no regular expression: missing ): (",
    ),
    (
        "groups:\n- name: a\n  rules:\n  - {alert: X, expr: up, expr: up}\n",
        "4: groups[0].rules[0].expr: the key is there twice",
    ),
]


@pytest.mark.parametrize(
    ("text", "fault"), [pytest.param(*row, id=f"{number}") for number, row in enumerate(SINGLE)]
)
def test_single_faults(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(text)
    assert check_rule_file(path) == [f"{path}:{fault}"]


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("groups:\n  - name: a\n   rules: [\n")
    (fault,) = check_rule_file(path)
    assert fault.startswith(f"{path}:3: not valid YAML: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.yml"
    assert check_rule_file(path) == [f"{path}:1: cannot be read: No such file or directory"]


def test_faults_of_all_files_are_told(tmp_path: Path) -> None:
    paths = []
    for name in ("a.yml", "b.yml"):
        paths.append(tmp_path / name)
        paths[-1].write_text("groups: [{name: ''}]\n")
    with pytest.raises(ConfigError) as caught:
        load_groups(paths, 10.0)
    assert [fault.split(":")[0] for fault in caught.value.faults] == [str(path) for path in paths]


def test_files_are_found_by_name_and_by_glob(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yml", "c.txt"):
        (tmp_path / name).touch()
    found = find_files(["*.yml", "c.txt", "a.yml", "none/*.yml"], tmp_path, shipped=False)
    assert [path.name for path in found] == ["a.yml", "b.yml", "c.txt"]


def test_a_plain_name_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yml:1: no such file; rule_files names it"):
        find_files(["gone.yml"], tmp_path, shipped=True)


def test_deeply_nested_expressions_are_a_fault_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    expression = "(" * 3000 + "up" + ")" * 3000
    text = f"groups: [{{name: a, rules: [{{alert: X, expr: '{expression}'}}]}}]"
    path.write_text(textwrap.dedent(text))
    assert len(check_rule_file(path)) <= 1
