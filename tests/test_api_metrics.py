from pathlib import Path

import pytest

from api.templates import Template, Templates, fill_server
from fleetpulse.promql.result import Matrix, Result
from fleetpulse.promql.syntax import parse
from tests.api_fakes import NOW, NOW_MS, Api, labels, series

TEMPLATES = Templates.load().by_name
NAMED = [
    "cpu_usage",
    "memory_usage",
    "disk_usage",
    "disk_read",
    "disk_write",
    "network_receive",
    "network_transmit",
    "packet_loss",
    "load1",
    "uptime",
    "swap_usage",
]


@pytest.fixture
def api(tmp_path: Path) -> Api:
    api = Api(tmp_path)
    names = "queue_length", "a.b", 'a"}'
    api.reader.held = [series(labels(name, instance="web1"), (NOW_MS, 1.0)) for name in names]
    return api


def asked(api: Api) -> str:
    return str(api.engine.asked[-1][0])


def test_the_table_has_what_people_ask_for() -> None:
    assert set(NAMED) <= set(TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("server", ["", 'we"b\\1}\n$server'])
def test_every_template_is_promql_for_any_server(template: Template, server: str) -> None:
    parse(template.expr(server, 15.0))
    assert "$window" not in template.expr("", 15.0)
    assert template.unit
    assert template.help.endswith(".")


INJECTIONS = [
    pytest.param("", "up{}", id="all servers"),
    pytest.param("web1:9100", 'up{instance="web1:9100"}', id="one"),
    pytest.param('"} or up{a="', 'up{instance="\\"} or up{a=\\""}', id="quotes stay inside"),
    pytest.param("\\", 'up{instance="\\\\"}', id="so does a backslash"),
    pytest.param("a\nb", 'up{instance="a\\nb"}', id="and a line break"),
]


@pytest.mark.parametrize(("server", "expected"), INJECTIONS)
def test_a_server_is_a_quoted_matcher(server: str, expected: str) -> None:
    assert fill_server("up{$server}", server) == expected


def test_a_metric_by_name(api: Api) -> None:
    api.engine.answers['queue_length{instance="web1"}'] = Result(
        Matrix(
            [series(labels("queue_length", instance="web1"), (1000, 1.5), (2000, float("nan")))]
        ),
        warnings=("w",),
    )
    answer = api.client().get(
        "/api/v1/metrics?metric=queue_length&server=web1&from=1&to=2023-11-14T22:13:20Z&step=2d"
    )
    assert answer.json == {
        "status": "success",
        "data": {
            "metric": "queue_length",
            "unit": "",
            "help": "",
            "query": 'queue_length{instance="web1"}',
            "from": 1.0,
            "to": NOW,
            "step": 172800.0,
            "aggregate": "last",
            "series": [
                {
                    "server": "web1",
                    "labels": {"__name__": "queue_length", "instance": "web1"},
                    "values": [[1.0, 1.5], [2.0, None]],
                }
            ],
        },
        "warnings": ["w"],
    }
    assert api.engine.asked[-1][1:4] == (1000, NOW_MS, 172_800_000)


def test_without_times_it_is_the_last_hour(api: Api) -> None:
    api.client().get("/api/v1/metrics?metric=load1")
    assert api.engine.asked == [("node_load1{}", NOW_MS - 3_600_000, NOW_MS, 15_000, 120.0)]


AGGREGATES = [
    pytest.param("queue_length", "", "queue_length{}", id="none is last"),
    pytest.param("queue_length", "last", "queue_length{}", id="last"),
    pytest.param("queue_length", "max", "max_over_time(queue_length{}[5m])", id="of a metric"),
    pytest.param("load1", "avg", "avg_over_time((node_load1{})[5m:30s])", id="of a template"),
    pytest.param("a.b", "", '{__name__="a.b",}', id="a name that is no word"),
    pytest.param('a"}', "sum", 'sum_over_time({__name__="a\\"}",}[5m])', id="one with quotes"),
]


@pytest.mark.parametrize(("metric", "aggregate", "expected"), AGGREGATES)
def test_aggregates_are_over_each_step(
    api: Api, metric: str, aggregate: str, expected: str
) -> None:
    answer = api.client().get(f"/api/v1/metrics?metric={metric}&aggregate={aggregate}&step=5m")
    assert answer.status_code == 200
    assert asked(api) == expected
    parse(expected)


def test_a_template_is_looked_at_within_the_shortest_step_too(api: Api) -> None:
    api.client().get("/api/v1/metrics?metric=load1&aggregate=avg&step=0.5&from=1&to=5")
    assert asked(api) == "avg_over_time((node_load1{})[500ms:500ms])"


@pytest.mark.parametrize(("step", "window"), [("10", "[1m]"), ("1m", "[1m]"), ("1h", "[1h]")])
def test_rates_are_taken_over_the_step_but_a_minute_at_least(
    api: Api, step: str, window: str
) -> None:
    api.client().get(f"/api/v1/metrics?metric=disk_read&step={step}")
    assert asked(api) == f"rate(node_disk_read_bytes_total{{}}{window})"


def test_a_template_tells_its_unit(api: Api) -> None:
    data = (api.client().get("/api/v1/metrics?metric=memory_usage").json or {})["data"]
    assert (data["unit"], data["help"][:5]) == ("percent", "Share")


def test_without_a_metric_there_is_the_list(api: Api) -> None:
    data = (api.client().get("/api/v1/metrics").json or {})["data"]
    assert [entry["metric"] for entry in data] == list(TEMPLATES)
    assert api.engine.asked == []


UNKNOWN = [
    pytest.param("cpu_usagee", "did you mean cpu_usage", id="a template, misspelt"),
    pytest.param("queue_lenght", "did you mean queue_length", id="a metric, misspelt"),
    pytest.param("xyzzy", "named queries: cpu_usage", id="anything else"),
    pytest.param("up} or up{", "named queries: cpu_usage", id="an expression"),
]


@pytest.mark.parametrize(("metric", "message"), UNKNOWN)
def test_an_unknown_metric_is_told_what_there_is(api: Api, metric: str, message: str) -> None:
    answer = api.client().get("/api/v1/metrics", query_string={"metric": metric})
    assert answer.status_code == 404
    assert message in (answer.json or {})["error"]
    assert api.engine.asked == []


BAD = [
    pytest.param("aggregate=mode", "aggregate", id="an aggregate that is none"),
    pytest.param("from=5&to=4", "to", id="to before from"),
    pytest.param("from=yesterday", "from", id="a time that is none"),
    pytest.param("step=0", "step", id="no step"),
    pytest.param("from=0&step=1", "points", id="too many points"),
]


@pytest.mark.parametrize(("query", "message"), BAD)
def test_bad_parameters_are_named(api: Api, query: str, message: str) -> None:
    answer = api.client().get(f"/api/v1/metrics?metric=load1&{query}")
    assert answer.status_code == 400
    assert message in (answer.json or {})["error"]
