"""Go templates, as Alertmanager's users write them."""

import pytest

from alertmanager_bridge.gotemplate import TemplateError, TemplateSet, check_template
from alertmanager_bridge.gotemplate.values import template_data
from alertmanager_bridge.words import Words
from tests.bridge_fakes import START, alert, message

MESSAGE = message(
    alert(host="a", job="node", severity="page"),
    alert(host="b", job="node", ends=START - 1, at=START - 60),
)
DATA = template_data(MESSAGE.data)

TABLE = [
    pytest.param("plain", "plain", id="text"),
    pytest.param("{{ .Status }}", "firing", id="field"),
    pytest.param("{{ .CommonLabels.alertname }}", "Down", id="label"),
    pytest.param("[{{ .CommonLabels.nothing }}]", "[]", id="missing label is empty"),
    pytest.param("{{ .Status | toUpper }}", "FIRING", id="pipe"),
    pytest.param("{{ .Alerts.Firing | len }}/{{ len .Alerts }}", "1/2", id="methods and len"),
    pytest.param("a {{- .Status -}} b", "afiringb", id="trim"),
    pytest.param("a{{/* {{ no }} */}}b", "ab", id="comment"),
    pytest.param("{{ if eq .Status `firing` }}y{{ else }}n{{ end }}", "y", id="if"),
    pytest.param("{{ if .CommonLabels.x }}1{{ else if true }}2{{ end }}", "2", id="else if"),
    pytest.param("{{ with .CommonLabels.job }}<{{ . }}>{{ end }}", "<node>", id="with"),
    pytest.param("{{ with .CommonLabels.x }}1{{ else }}{{ .Status }}{{ end }}", "firing",
                 id="else"),
    pytest.param("{{ range .Alerts }}{{ .Labels.host }},{{ end }}", "a,b,", id="range"),
    pytest.param("{{ range $i, $a := .Alerts }}{{ $i }}{{ $a.Status }} {{ end }}",
                 "0firing 1resolved ", id="range with variables"),
    pytest.param("{{ range .Alerts.Firing }}{{ $.Status }}{{ end }}", "firing", id="root"),
    pytest.param("{{ range .Alerts }}{{ break }}x{{ else }}none{{ end }}", "", id="break"),
    pytest.param("{{ range $k, $v := .GroupLabels }}{{ $k }}={{ $v }}{{ end }}", "alertname=Down",
                 id="labels in order"),
    pytest.param("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2", id="assignment"),
    pytest.param("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1", id="shadow"),
    pytest.param("{{ .CommonLabels.SortedPairs.Values | join ` ` }}", "Down node", id="join"),
    pytest.param("{{ (.CommonLabels.Remove .GroupLabels.Names).Values | join `,` }}", "node",
                 id="remove"),
    pytest.param("{{ .CommonLabels }}", "alertname=Down, job=node", id="labels as text"),
    pytest.param('{{ index .CommonLabels "job" }}', "node", id="index by name"),
    pytest.param("{{ (index .Alerts 1).Labels.host }}", "b", id="index by number"),
    pytest.param("{{ (index .Alerts 0).StartsAt.Format `2006-01-02 15:04` }}", "2023-11-14 22:13",
                 id="time"),
    pytest.param("{{ and .Status .CommonLabels.x }}|{{ or .CommonLabels.x `z` }}", "|z",
                 id="and, or"),
    pytest.param("{{ not true }} {{ ne 1 2 }} {{ lt 1 2 }} {{ ge `b` `a` }}",
                 "false true true true",
                 id="comparisons"),
    pytest.param('{{ printf "%s %d %.1f %q %5s|%%" "a" 2 3.0 "b" "c" }}', 'a 2 3.0 "b"     c|%',
                 id="printf"),
    pytest.param('{{ reReplaceAll "o(.)" "0$1" "foo bow" }}', "f0o b0w", id="replace"),
    pytest.param('{{ match "^fir" .Status }}', "true", id="match"),
    pytest.param('{{ "a b" | title }} {{ " x " | trimSpace }}', "A B x", id="title, trimSpace"),
    pytest.param('{{ "a&b c" | urlquery }} {{ html "<a>" }}', "a%26b+c &lt;a&gt;", id="escapes"),
    pytest.param('{{ define "t" }}<{{ .Status }}>{{ end }}{{ template "t" . }}', "<firing>",
                 id="define"),
    pytest.param('{{ template "slack.default.title" . }}', "[FIRING:1] Down (node)", id="ours"),
    pytest.param("{{ print 1 2 `x` }}", "1 2x", id="print"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_templates(text: str, expected: str) -> None:
    check_template(text)
    assert Words().about(MESSAGE.data).fill(text) == expected


BROKEN = [
    pytest.param("{{ .a", "does not end", id="open action"),
    pytest.param("{{ if .a }}", "has no {{end}}", id="open if"),
    pytest.param("{{ end }}", "without a beginning", id="end"),
    pytest.param("{{ foo .a }}", "no function 'foo'", id="unknown function"),
    pytest.param("{{ .a | }}", "missing", id="empty pipe"),
    pytest.param("{{ }}", "missing", id="empty action"),
    pytest.param("{{ (.a }}", "a ) is missing", id="bracket"),
    pytest.param("{{ .a ) }}", "out of place", id="bracket too many"),
    pytest.param("{{ template x }}", "quotes", id="template name"),
    pytest.param('{{ "\\q" }}{{ "\\x" }}', "backslash", id="bad escape"),
    pytest.param("{{ if 1 }}" * 200, "too deeply", id="too deep"),
    pytest.param("{{ if 1 }}{{ break }}{{ end }}", "outside of a range", id="break"),
    pytest.param("{{ .a # }}", "cannot read", id="odd character"),
]


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence.*")
@pytest.mark.parametrize(("text", "fault"), BROKEN)
def test_broken_templates_are_told_at_load(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_template(text)
    assert fault in str(caught.value)


FAILING = [
    pytest.param("{{ .Nope }}", "there is no .Nope", id="unknown field"),
    pytest.param("{{ .Status.x }}", "no such field", id="field of a text"),
    pytest.param("{{ index .Alerts 9 }}", "out of range", id="index"),
    pytest.param("{{ $x }}", "not declared", id="variable"),
    pytest.param("{{ eq 1 `a` }}", "incompatible", id="types"),
    pytest.param('{{ template "none" . }}', "there is no template 'none'", id="template"),
    pytest.param('{{ define "t" }}{{ template "t" . }}{{ end }}{{ template "t" . }}',
                 "without an end", id="endless recursion"),
    pytest.param('{{ printf "%99999999s" "x" }}', "too large", id="huge width"),
    pytest.param("{{ range 200000 }}{{ range 200000 }}x{{ end }}{{ end }}", "too",
                 id="endless work"),
    pytest.param("{{ .Status.__class__ }}", "", id="no way into Python"),
    pytest.param("{{ .CommonLabels.Remove }}", "arguments", id="method without arguments"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), FAILING)
def test_templates_that_do_not_fit_the_message(text: str, fault: str) -> None:
    with pytest.raises(TemplateError) as caught:
        TemplateSet().render(text, DATA)
    assert fault in str(caught.value)


def test_values_are_escaped_in_html_unless_marked_safe() -> None:
    templates = TemplateSet()
    text = '<b>{{ "<x>" }}</b>{{ "<i>" | safeHtml }}'
    assert templates.render(text, DATA, escape=True) == "<b>&lt;x&gt;</b><i>"


def test_labels_named_like_methods_are_labels() -> None:
    data = template_data(message(alert(items="1", get="2", pairs="3")).data)
    text = "{{ .CommonLabels.items }}{{ .CommonLabels.get }}{{ .CommonLabels.pairs }}"
    assert TemplateSet().render(text, data) == "123"
