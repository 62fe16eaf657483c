"""Templates of messages against Alertmanager's own: amtool must render them to the same text."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from alertmanager_bridge.template_set import TemplateSet
from alertmanager_bridge.template_values import template_data

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        shutil.which("amtool") is None,
        reason="amtool is missing: apt-get install prometheus-alertmanager",
    ),
]

_ZERO = "0001-01-01T00:00:00Z"


def _alert(status: str, end: str, **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "Down", "job": "node", **labels},
        "annotations": {"summary": '<b>it\'s "down"</b> & out', "lines": "one\ntwo"},
        "startsAt": "2023-11-14T22:13:20.125Z",
        "endsAt": end,
        "generatorURL": "http://g/graph?a=1&b=2",
        "fingerprint": "41d4e8bf4f154489",
    }


DATA = {
    "receiver": "team",
    "status": "firing",
    "alerts": [
        _alert("firing", _ZERO, host="a", severity="page"),
        _alert("resolved", "2023-11-14T23:01:02Z", host="b"),
    ],
    "groupLabels": {"alertname": "Down"},
    "commonLabels": {"alertname": "Down", "job": "node"},
    "commonAnnotations": {"summary": '<b>it\'s "down"</b> & out'},
    "externalURL": "http://am",
}

# Debian's amtool (0.25) knows neither trimSpace, toJson and date, nor how labels print as a whole.
TEXTS = [
    "{{ .Status | toUpper }} {{ .Alerts.Firing | len }}/{{ len .Alerts }} {{ .ExternalURL }}",
    "{{ .GroupLabels.SortedPairs.Values }}|{{ .CommonLabels.Names }}",
    "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}",
    "{{ range $i, $a := .Alerts }}{{ $i }}:{{ $a.Labels.host }}{{ $.Status }} {{ end }}",
    "{{ (.CommonLabels.Remove .GroupLabels.Names).Values | join `,` }}",
    "{{ with index .Alerts 0 }}{{ .StartsAt }} {{ .EndsAt }} {{ .EndsAt.IsZero }}{{ end }}",
    "{{ with index .Alerts 1 }}{{ .EndsAt.Sub .StartsAt }} {{ .StartsAt.Unix }}{{ end }}",
    "{{ (index .Alerts 0).StartsAt.Format `Mon, 02 Jan 2006 15:04:05.000 MST -0700 Z07:00` }}",
    "{{ (index .Alerts 0).StartsAt.Format `Monday January _2 3:4:5.999PM 06-1-2 002 pm` }}",
    "{{ ((index .Alerts 0).StartsAt.Add 28800e9).Format `2006-01-02 15:04:05` }}",
    "{{ (slice .Alerts 1 2).Resolved | len }} {{ slice `straße` 0 6 }} {{ index `abc` 1 }}",
    "{{ `it's a 3rd NOTE, o'clock_x a.b:c 3.d 1.5m e-f x’y 4_h` | title }} {{ `ß ǆ` | toUpper }}",
    "{{ reReplaceAll `o.*` `0` (index .Alerts 0).Annotations.lines }} {{ match `e.t` `e\nt` }}",
    "{{ printf `%5.1f|%-8s|%v|%q|%T|%d` 2.25 .Status 1e9 .Status .GroupLabels 7 }}",
    "{{ printf `%s %v` (stringSlice `a` `b`) (stringSlice `a` `b`) }} {{ print 1 2 `x` 3 }}",
    "{{ html .CommonAnnotations.summary }} {{ js .CommonAnnotations.summary }}",
    "{{ urlquery `a b&c` }} {{ eq 1 2 1 }} {{ lt 1.5 2.5 }} {{ and 1 0 2 }}{{ or `` 3 }}",
    "{{ define `t` }}<{{ . }}>{{ end }}{{ template `t` .Status }}{{ block `u` . }}x{{ end }}",
    "{{ if .CommonLabels.none }}a{{ else if .Alerts }}b{{ end }} {{- /* c */ -}}  d",
    "{{ with .Alerts.Firing }}{{ (index . 0).Labels.severity }}{{ else }}none{{ end }}",
]

HTML = [
    "<p title=\"{{ .CommonAnnotations.summary }}\">{{ .CommonAnnotations.summary }}</p>",
    "<p>{{ .CommonAnnotations.summary | safeHtml }}{{ .Status }}</p>",
    "{{ range .Alerts }}<b>{{ .Labels.host }}</b>{{ .Annotations.lines }}{{ end }}",
]  # fmt: skip


def _rendered(text: str, kind: str, folder: Path) -> str:
    data = folder / "data.json"
    data.write_text(json.dumps(DATA))
    done = subprocess.run(
        ["amtool", "template", "render", f"--template.glob={folder}/*.tmpl", "--template.text",
         text, f"--template.type={kind}", f"--template.data={data}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.removesuffix("\n")


@pytest.mark.parametrize("text", TEXTS)
def test_amtool_renders_to_the_same(text: str, tmp_path: Path) -> None:
    mine = TemplateSet().render(text, template_data(DATA))
    assert mine == _rendered(text, "text", tmp_path)


@pytest.mark.parametrize("text", HTML)
def test_amtool_escapes_to_the_same(text: str, tmp_path: Path) -> None:
    mine = TemplateSet().render(text, template_data(DATA), escape=True)
    assert mine == _rendered(text, "html", tmp_path)
