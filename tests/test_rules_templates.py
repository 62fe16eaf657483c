"""Templates as operators write them, with the text that Prometheus makes of them."""

import itertools

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.gotemplate.evaluate import Evaluation, Limits
from fleetpulse.gotemplate.nodes import TemplateError
from fleetpulse.gotemplate.parser import parse
from rules.template_functions import NAMES, functions
from rules.template_values import AlertData, QuerySample
from rules.templates import Expander, check

DATA = AlertData(
    labels={"instance": "web1:9100", "job": "node"},
    value=85.123456,
    external_labels={"dc": "eu"},
    external_url="http://fleet",
)
VECTOR = [QuerySample({"instance": "b"}, 21.0), QuerySample({"instance": "a"}, 11.0)]
NOW = 1353755652.0


def answer(expression: str) -> list[QuerySample]:
    if expression == "none":
        return []
    if expression == "broken":
        raise QueryError("bad_data", "parse error")
    return VECTOR


def expand(text: str) -> str:
    check(text)
    return Expander("Test", answer, "http://testhost:9090/path/prefix", NOW).expand(text, DATA)


GOOD = [
    ("plain text", "plain text"),
    ("{{ 1 }}", "1"),
    ("{{ $labels.instance }} {{ .Labels.job }}", "web1:9100 node"),
    ("{{ $labels.nope }}|", "|"),
    ("{{ $value }} {{ .Value }}", "85.123456 85.123456"),
    ("{{ $value | humanize }}", "85.12"),
    ("{{ humanize1024 1048576.0 }}", "1Mi"),
    ("{{ 0.1234 | humanizePercentage }}", "12.34%"),
    ("{{ 93784 | humanizeDuration }}", "1d 2h 3m 4s"),
    ('{{ "1435065584.128" | humanizeTimestamp }}', "2015-06-23 13:19:44.128 +0000 UTC"),
    ('{{ printf "%.2f" $value }}%', "85.12%"),
    ('{{ printf "%s is %d" $labels.job 3 }}', "node is 3"),
    ('{{ printf "%d" $value }}', "%!d(float64=85.123456)"),
    ("{{ if gt $value 80.0 }}high{{ else }}low{{ end }}", "high"),
    ('{{ if eq $labels.job "x" "node" }}a{{ end }}', "a"),
    ('{{ if false }}a{{ else if eq $labels.job "node" }}b{{ else }}c{{ end }}', "b"),
    ("{{ if and (ge $value 1.0) (not false) (ne 1 2) (lt 1 2) (le 2 2) }}y{{ end }}", "y"),
    ('{{ or "" "z" }} {{ and 1 0 }}', "z 0"),
    ('{{ or $labels.team "nobody" }}', "nobody"),
    ("{{ with $labels.nope }}a{{ else }}b{{ end }}", "b"),
    ("{{ with $labels.job }}{{ . }}{{ end }}", "node"),
    (
        '{{ range query "m" | sortByLabel "instance" }}{{.Labels.instance}}:{{.Value}}: {{end}}',
        "a:11: b:21: ",
    ),
    ('{{ range $i, $s := query "m" }}{{ if $i }}, {{ end }}{{ $s.Value }}{{ end }}', "21, 11"),
    ('{{ range query "none" }}x{{ else }}nothing{{ end }}', "nothing"),
    ("{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}", "instance=web1:9100;job=node;"),
    ("{{ range 5 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ . }}{{ end }}", "0234"),
    ("{{ range 5 }}{{ if eq . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}", "012"),
    ('{{ query "m" | first | value }}', "21"),
    ('{{ with query "m" }}{{ . | first | label "instance" }}{{ end }}', "b"),
    ('{{ query "m" | first | strvalue }}|', "|"),
    ('{{ $x := query "m" | first }}{{ $x.Labels.foo }}{{ $x.Labels.instance }}', "b"),
    ("{{ $n := 0 }}{{ range 3 }}{{ $n = . }}{{ end }}{{ $n }}", "2"),
    ("{{ $n := 1 }}{{ if true }}{{ $n := 2 }}{{ end }}{{ $n }}", "1"),
    ("a  {{- /* nothing */ -}}  b {{- 1 -}} c", "ab1c"),
    ("{{/* no trim */}}x", "x"),
    ("a\n{{- if true }}\nb\n{{- end }}\n", "a\nb\n"),
    ('{{ "}}" }}', "}}"),
    (r'{{ "a\tb\"\x41é" }} {{ `raw\n` }}', 'a\tb"Aé raw\\n'),
    ("{{ 'a' }} {{ 0x10 }} {{ 1_000 }} {{ -3 }} {{ 1e3 }}", "97 16 1000 -3 1000"),
    ("{{ 1234567.0 }} {{ 100000.0 }} {{ 0.00001 }}", "1.234567e+06 100000 1e-05"),
    ("{{ $labels }}", "map[instance:web1:9100 job:node]"),
    ('{{ len "abc" }} {{ len $labels }} {{ index $labels "job" }}', "3 2 node"),
    ('{{ index (query "m") 1 | value }}', "11"),
    ('{{ print "a" 1 2 "b" }}', "a1 2b"),
    ('{{ "x" | printf "%s-%s" "y" }}', "y-x"),
    ('{{ "aa bb CC" | title }} {{ toUpper "a" }} {{ "B" | toLower }}', "Aa Bb CC A b"),
    ('{{ match "a+" "baa" }} {{ match "^a" "b" }}', "true false"),
    ('{{ reReplaceAll "(a)b" "x$1" "abab" }}', "xaxa"),
    ('{{ reReplaceAll "a*" "-" "baac" }}', "-b-c-"),
    ('{{ $labels.instance | reReplaceAll "^(.*):.*$" "${1}" }}', "web1"),
    ('{{ stripPort "[2001:db8::1]:80" }} {{ stripPort "a:1" }}', "2001:db8::1 a"),
    ('{{ stripDomain "a.example.com:1" }} {{ stripDomain "192.0.2.1:9" }}', "a:1 192.0.2.1:9"),
    ("{{ pathPrefix }}", "/path/prefix"),
    ('{{ graphLink "up == 0" }}', "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
    ('{{ tableLink "up" }}', "/graph?g0.expr=up&g0.tab=1"),
    ('{{ printf "%0.2f" (parseDuration "-1h2m10ms") }}', "-3720.01"),
    ("{{ now }}", "1.353755652e+09"),
    ('{{ (now | toTime).Format "Mon Jan 2 15:04:05 2006" }}', "Sat Nov 24 11:14:12 2012"),
    ('{{ ("-30m" | parseDuration | toDuration | (now | toTime).Add).UnixMilli }}', "1353753852000"),
    ("{{ (1800 | toDuration).String }} {{ toDuration 0.0015 }}", "30m0s 1.5ms"),
    ('{{ define "x" }}{{ .arg0 }} {{ .arg1 }}{{ end }}{{ template "x" (args 1 "2") }}', "1 2"),
    ('{{ block "x" . }}{{ .Value }}{{ end }}', "85.123456"),
    ("{{ (args 1).arg7 }}", "<no value>"),
    ('{{ printf "%c" 0xD800 }}', "\ufffd"),
    ("{{ toUpper `straße` }}", "STRAßE"),
    ("{{ html `<a>` }} {{ urlquery `a b` }} {{ `<` | safeHtml }}", "&lt;a&gt; a+b <"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [pytest.param(*row, id=row[0]) for row in GOOD])
def test_expansion(text: str, expected: str) -> None:
    assert expand(text) == expected


def test_external_url_is_of_the_role_and_of_the_data() -> None:
    assert expand("{{ $externalURL }} {{ externalURL }} {{ $externalLabels.dc }}") == (
        "http://fleet http://testhost:9090/path/prefix eu"
    )


FAULTS = [
    ("{{", "line 1: unclosed action; it ends with }}"),
    ("a\n{{ .x", "line 2: unclosed action; it ends with }}"),
    ("{{ }}", "line 1: a value or a function is missing here"),
    ("{{ $x }}", "line 1: undefined variable $x"),
    ("{{ $x = 1 }}", "line 1: undefined variable $x"),
    ("\n\n{{ humanise $value }}", "line 3: function 'humanise' is not defined"),
    ("{{ if 1 }}", "line 1: {{if}} is never closed; it ends with {{end}}"),
    ("{{ if 1 }}{{ else }}", "line 1: the end of the text where {{end}} should close {{if}}"),
    (
        "{{ if 1 }}{{ else }}{{ else }}{{ end }}",
        "line 1: a second {{else}} where {{end}} should close {{if}}",
    ),
    ("{{ end }}", "line 1: unexpected {{end}}; nothing is open here"),
    ("{{ .x | 3 }}", "line 1: non executable command in pipeline stage 2"),
    ('{{ "a }}', "line 1: unterminated quoted string"),
    ("{{ /* x */ }}", "line 1: a comment begins right at {{/* and ends at */}}"),
    ("{{/* x */ }}", "line 1: a comment must end with */}}"),
    ("{{ / }}", "line 1: unrecognized character in action: '/'"),
    ("{{ break }}", "line 1: {{break}} outside {{range}}"),
    ("{{ 1 2 }}", "line 1: can't give an argument to something that is no function"),
    ('{{ template "z" }}', "line 1: template 'z' is not defined"),
    ("{{ ( 1 }}", "line 1: unclosed left parenthesis"),
    ("{{ 1 ) }}", "line 1: unexpected ')' in command"),
    ("{{\xa0}}", "line 1: unrecognized character in action: '\\xa0'"),
    ("{{ " + "(" * 200 + "1" + ")" * 200 + " }}", "line 1: nested more than 50 deep"),
    ("{{ if 1 }}" * 200, "line 1: nested more than 50 deep"),
    ("{{ range $a, $b, $c := . }}{{ end }}", "line 1: too many variables in the declaration"),
    ('{{ "\\q" }}', 'line 1: "\\q" is no valid constant'),
    ("{{ 09 }}", "line 1: 09 is no valid constant"),
    ("x" * 70_000, "line 1: longer than 65536 characters"),
]


@pytest.mark.parametrize(
    ("text", "message"), [pytest.param(*row, id=row[0][:40]) for row in FAULTS]
)
def test_faults_are_found_before_anything_is_expanded(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        check(text)
    assert str(caught.value) == message


FAILURES = [
    (
        "{{ if gt $value 80 }}x{{ end }}",
        "error calling gt: incompatible types for comparison: float64 and int; "
        "write 80.0 against a value",
    ),
    (
        '{{ query "none" | first }}',
        "error calling first: first() called on vector with no elements",
    ),
    ('{{ query "broken" }}', "error calling query: parse error"),
    (
        '{{ (query "m").banana }}',
        "can't evaluate field banana in type template.queryResult",
    ),
    ("{{ .Labels.job.x }}", "can't evaluate field x in type string"),
    ("{{ $value.__class__ }}", "can't evaluate field __class__ in type float64"),
    (
        '{{ humanize "one" }}',
        'error calling humanize: strconv.ParseFloat: parsing "one": invalid syntax',
    ),
    ("{{ humanize }}", "error calling humanize: wrong number of args for humanize: want 1 got 0"),
    ("{{ toUpper 1 }}", "error calling toUpper: wrong type for value; expected string; got int"),
    ('{{ match "(" "a" }}', "error calling match: '(' is no regular expression"),
    ('{{ parseDuration "x" }}', "error calling parseDuration: 'x' is no duration"),
    ("{{ range $value }}{{ end }}", "range can't iterate over 85.123456"),
    ("{{ $labels.job 1 }}", "job is not a method but has arguments"),
    ('{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}', "more than 50 templates"),
    ('{{ range 30 }}{{ query "m" }}{{ end }}', "error calling query: more than 20 queries"),
    ("{{ range 90000 }}{{ range 90000 }}{{ end }}{{ end }}", "stopped after 100000 steps"),
    (
        '{{ $x := "ab" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}',
        "more than 65536 characters for print",
    ),
    (
        "{{ $x := args 1 }}{{ range 99 }}{{ $x = args $x $x }}{{ end }}{{ $x }}",
        "more than 65536 characters to print",
    ),
    (
        "{{ $x := args 1 }}{{ range 9999 }}{{ $x = args $x }}{{ end }}{{ print $x }}",
        "error calling print: maximum recursion depth exceeded",
    ),
    ("{{ range 999 }}{{ printf `%999d` 1 }}{{ end }}", "more than 65536 characters written"),
]


@pytest.mark.parametrize(("text", "message"), [pytest.param(*row, id=row[0]) for row in FAILURES])
def test_a_failing_template_says_so_in_its_place(text: str, message: str) -> None:
    result = expand("before " + text)
    start = "<error expanding template: error executing template __alert_Test: template: line 1: "
    assert result.startswith(start + message)
    assert result.endswith(">")


def test_the_time_is_bounded() -> None:
    ticking = itertools.count()
    template = parse("{{ range 50000 }}{{ end }}", NAMES)
    evaluation = Evaluation(
        template,
        functions(answer, "", NOW),
        limits=Limits(seconds=3.0),
        clock=lambda: float(next(ticking)),
    )
    with pytest.raises(TemplateError, match="stopped after 3 s"):
        evaluation.run(DATA, {})
