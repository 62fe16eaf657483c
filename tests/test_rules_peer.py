"""Templates against Prometheus itself: promtool must expand them to the same text."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from rules.template_values import AlertData, QuerySample
from rules.templates import Expander
from tests.test_rules_templates import GOOD

# What Debian's promtool (2.42) does not know yet, or for want of an external URL cannot do.
_NEWER = ("range 3", "range 5", "now", "toDuration", 'parseDuration "-', "pathPrefix")

DATA = AlertData({"instance": "web1:9100", "job": "node"}, 85.123456, {"dc": "eu"}, "http://fleet")
VECTOR = [QuerySample({"instance": "a"}, 11.0), QuerySample({"instance": "b"}, 21.0)]

MORE = [
    "{{ printf `%5.1f|%-8s|%08.3f|%+d|%x|%q` $value $labels.job $value 3 255 $labels.job }}",
    "{{ printf `%d %s` $value 3 }} {{ printf `%v %v %v` $value $labels true }}",
    "{{ printf `%s` }} {{ printf `x` 1 `a` }} {{ printf `%` }} {{ printf `%e %G` $value 1e9 }}",
    "{{ gt 1.5 1.5 }} {{ ge 1 1 }} {{ le `b` `a` }} {{ index `abc` 1 }} {{ slice `straße` 0 6 }}",
    '{{ reReplaceAll `a.*` `-` `ab\nc` }} {{ match `b.c` `ab\nc` }} {{ js `a\n"é\\` }}',
    "{{ (toTime 1e9).Format `Mon, 02 Jan 06 3:4:5PM Z07:00 -0700 MST Monday Janet` }}",
    "{{ printf `%6d|%-6d|%06d|%t|%c|%U|%o|%b` 42 42 42 true 65 65 8 5 }}",
    "{{ printf `%*d|%.*f|%10.2f|% d|%T %T %T` 5 42 2 3.14159 2.5 7 1 1.5 `a` }}",
    "{{ range $i, $e := (query `m` | sortByLabel `instance`) }}{{ $i }}{{ $e.Value }}{{ end }}",
    "{{ humanize 0.0 }} {{ humanize 999.9 }} {{ humanize 1e30 }} {{ humanize -0.00123 }}",
    "{{ humanizeDuration 0.00012 }} {{ humanizeDuration 59.96 }} {{ humanizeDuration -61.5 }}",
    "{{ humanize1024 1023.9 }} {{ humanize1024 1e15 }} {{ humanizePercentage 0.999999 }}",
    "{{ 1e5 }} {{ 1e6 }} {{ 123456789.0 }} {{ 0.1 }} {{ 1e-7 }} {{ -0.0 }} {{ 1e21 }}",
    "{{ title `hello world-wide 3rd it's a.b x’y 4_h NOTE` }} {{ toUpper `straße` }}",
    "{{ reReplaceAll `(?P<x>\\\\d+)` `<${x}>` `a1b22` }} {{ reReplaceAll `` `-` `ab` }}",
    "{{ stripPort `a:b:c` }} {{ stripDomain `[::1]:80` }} {{ stripDomain `x.y.` }}",
    "{{ html `a'b\"<&>` }} {{ js `it's <b>` }} {{ urlquery `a&b c/d` }}",
    "{{ print 1 2 `a` `b` 3 4.5 true nil }} {{ println `x` 1 }}|",
    "{{ len (query `m`) }} {{ query `m{instance='b'}` | len }} {{ slice `abcdef` 1 3 }}",
    "{{ eq 1 1 }} {{ ne `a` `b` }} {{ lt 1.5 2.5 }} {{ and }}",
    "{{ if gt $value 80 }}x{{ end }}",
    "{{ if not $labels.none }}none{{ end }} {{ and `a` `` `b` }}|{{ or 0 `` `c` }}",
    "{{- /* c */ -}} {{ if true -}} a {{- else -}} b {{- end }} ",
    "{{ with $x := 5 }}{{ $x }}{{ . }}{{ end }}",
    "{{ define `t` }}[{{ . }}]{{ end }}{{ template `t` $value }}{{ template `t` }}",
    "{{ (humanizeTimestamp 1e9) }} {{ (toTime 1e9).Year }} {{ (toTime 1e9).Unix }}",
    "{{ toTime 1.5 }} {{ (toTime 1e9).Weekday }} {{ (toTime 1e9).Month }}",
    "{{ (toTime 1.5).Format `15:04:05.000 Jan _2 06` }}",
    "{{ parseDuration `1h30m` }} {{ `3m` | parseDuration | humanizeDuration }}",
    "{{ $m := query `m` | sortByLabel `instance` }}{{ (index $m 1).Labels.instance }}",
]


def _mine(text: str) -> str:
    # promtool gives series in no order: the texts sort them, or ask for one.
    expander = Expander(
        "T", lambda asked: VECTOR if asked == "m" else VECTOR[1:], "http://fleet", 0.0
    )
    return expander.expand(text, DATA)


def _asked() -> list[str]:
    known = [text for text, _ in GOOD if not any(word in text for word in _NEWER)]
    # The series' order and the links' base differ in the table's own set-up.
    return [
        text
        for text in [*known, *MORE]
        if "query" not in text.replace("urlquery", "") or "`m`" in text
    ]


@pytest.mark.peer
@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)
def test_promtool_expands_to_the_same(tmp_path: Path) -> None:
    texts = {f"a{number}": text for number, text in enumerate(_asked())}
    expected = {name: _mine(text) for name, text in texts.items()}
    # How an error is worded is each program's own matter; that there is one is not.
    failing = {name for name, text in expected.items() if "<error expanding" in text}
    sure = {name: text for name, text in texts.items() if name not in failing}
    rule = {"alert": "T", "expr": "load + 0 > 0", "annotations": sure}
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]})
    )
    test = {
        "interval": "1m",
        "external_labels": {"dc": "eu"},
        "external_url": "http://fleet",
        "input_series": [
            {"series": 'load{instance="web1:9100", job="node"}', "values": "85.123456"},
            {"series": 'm{instance="a"}', "values": "11"},
            {"series": 'm{instance="b"}', "values": "21"},
        ],
        "alert_rule_test": [
            {
                "eval_time": "0m",
                "alertname": "T",
                "exp_alerts": [
                    {
                        "exp_labels": {"instance": "web1:9100", "job": "node"},
                        "exp_annotations": {name: expected[name] for name in sure},
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
