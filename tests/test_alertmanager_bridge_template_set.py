"""Go templates, as Alertmanager's users write them."""

import pytest

from alertmanager_bridge.template_set import TemplateSet, check_template
from alertmanager_bridge.template_values import template_data
from alertmanager_bridge.words import Words
from fleetpulse.gotemplate.nodes import TemplateError
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
    pytest.param('{{ printf "%99999999s" "x" }}', "%!(BADWIDTH)", id="huge width"),
    pytest.param("{{ (index .Alerts 1).EndsAt.Sub (index .Alerts 1).StartsAt }}", "59s",
                 id="difference of times"),
    pytest.param("{{ with index .Alerts 0 }}{{ (.StartsAt.Add 3600e9).Format `15h04` }}{{ end }}",
                 "23h13", id="a plain number as a duration"),
    pytest.param("{{ with index .Alerts 0 }}{{ .EndsAt }} {{ .EndsAt.IsZero }}{{ end }}",
                 "0001-01-01 00:00:00 +0000 UTC true", id="Go's zero time"),
    pytest.param("{{ (slice .Alerts 1 2).Resolved | len }}", "1", id="a slice keeps its methods"),
    pytest.param("{{ `it's 3rd NOTE` | title }}", "It's 3Rd Note", id="title changes all letters"),
    pytest.param("{{ .CommonLabels | toJson }}", '{"alertname":"Down","job":"node"}', id="toJson"),
    pytest.param("{{ toJson `<&` }}", '"\\u003c\\u0026"', id="toJson within HTML"),
    pytest.param("{{ .Alerts.Resolved | toJson }}",
                 '[{"status":"resolved","labels":{"alertname":"Down","host":"b","job":"node"},'
                 '"annotations":{"summary":"Down is bad"},"startsAt":"2023-11-14T22:12:20Z",'
                 '"endsAt":"2023-11-14T22:13:19Z","generatorURL":"",'
                 '"fingerprint":"41d4e8bf4f154489"}]', id="toJson of alerts"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_templates(text: str, expected: str) -> None:
    check_template(text)
    assert Words().about(MESSAGE.data).fill(text) == expected


BROKEN = [
    pytest.param("{{ .a", "line 1: unclosed action", id="open action"),
    pytest.param("{{ if .a }}", "line 1: {{if}} is never closed", id="open if"),
    pytest.param("{{ end }}", "unexpected {{end}}; nothing is open", id="end"),
    pytest.param("\n{{ foo .a }}", "line 2: function 'foo' is not defined", id="unknown function"),
    pytest.param("{{ .a | }}", "missing", id="empty pipe"),
    pytest.param("{{ }}", "missing", id="empty action"),
    pytest.param("{{ (.a }}", "unclosed left parenthesis", id="bracket"),
    pytest.param("{{ .a ) }}", "unexpected ')'", id="bracket too many"),
    pytest.param("{{ template x }}", "quotes", id="template name"),
    pytest.param('{{ "\\q" }}{{ "\\x" }}', r'"\q" is no valid constant', id="bad escape"),
    pytest.param("{{ if 1 }}" * 200, "nested more than 50 deep", id="too deep"),
    pytest.param("{{ if 1 }}{{ break }}{{ end }}", "{{break}} outside {{range}}", id="break"),
    pytest.param("{{ .a # }}", "unrecognized character in action: '#'", id="odd character"),
]


@pytest.mark.filterwarnings("ignore:.*invalid escape sequence.*")
@pytest.mark.parametrize(("text", "fault"), BROKEN)
def test_broken_templates_are_told_at_load(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_template(text)
    assert fault in str(caught.value)


FAILING = [
    pytest.param(
        "{{ .Nope }}",
        "can't evaluate field Nope in type *template.Data; it has Receiver",
        id="unknown field",
    ),
    pytest.param("{{ .Status.x }}", "can't evaluate field x in type string", id="field of a text"),
    pytest.param("{{ index .Alerts 9 }}", "out of range", id="index"),
    pytest.param("{{ $x }}", "undefined variable $x", id="variable"),
    pytest.param("{{ eq 1 `a` }}", "incompatible", id="types"),
    pytest.param('{{ template "none" . }}', "template 'none' is not defined", id="template"),
    pytest.param(
        '{{ define "t" }}{{ template "t" . }}{{ end }}{{ template "t" . }}',
        "more than 50 templates inside each other (in template 't')",
        id="endless recursion",
    ),
    pytest.param(
        "{{ range 200000 }}{{ range 200000 }}x{{ end }}{{ end }}",
        "stopped after 500000 steps",
        id="endless work",
    ),
    pytest.param(
        "{{ .Status.__class__ }}",
        "can't evaluate field __class__ in type string",
        id="no way into Python",
    ),
    pytest.param(
        "{{ .CommonLabels.Remove }}",
        "wrong number of args for Remove",
        id="method without arguments",
    ),
]


@pytest.mark.parametrize(("text", "fault"), FAILING)
def test_templates_that_do_not_fit_the_message(text: str, fault: str) -> None:
    with pytest.raises(TemplateError) as caught:
        TemplateSet().render(text, DATA)
    assert fault in str(caught.value)


def test_values_are_escaped_in_html_unless_marked_safe() -> None:
    templates = TemplateSet()
    text = '<b>{{ "<x>" }}</b>{{ "<i>" | safeHtml }}{{ html "<" }}{{ "a&b" | safeUrl }}'
    assert templates.render(text, DATA, escape=True) == "<b>&lt;x&gt;</b><i>&lt;a&amp;b"


def test_a_fault_in_a_named_template_names_it() -> None:
    templates = TemplateSet(['{{ define "mine" }}\n\n{{ .Nope }}{{ end }}'])
    with pytest.raises(TemplateError, match=r"line 3: .* field Nope .*\(in template 'mine'\)"):
        templates.render('{{ template "mine" . }}', DATA)


def test_a_builtin_that_refuses_its_data_is_told_with_the_line() -> None:
    with pytest.raises(TemplateError, match=r"line 2: .* it wants the whole message"):
        Words().about(MESSAGE.data).fill('\n{{ template "slack.default.title" .Alerts }}')


def test_labels_named_like_methods_are_labels() -> None:
    data = template_data(message(alert(items="1", get="2", pairs="3")).data)
    text = "{{ .CommonLabels.items }}{{ .CommonLabels.get }}{{ .CommonLabels.pairs }}"
    assert TemplateSet().render(text, data) == "123"
