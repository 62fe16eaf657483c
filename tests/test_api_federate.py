"""GET /federate: what a Prometheus that scrapes it gets."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from api.about import About
from api.app import create_app
from fleetpulse.errors import QueryError, StorageError
from fleetpulse.exposition import read_page
from fleetpulse.model import STALE_NAN, Labels, Metadata
from fleetpulse.promql.config import PromqlConfig
from tests.api_fakes import NOW, NOW_MS, Api, labels, series

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
ODD = Labels.of({"__name__": "a.b", "c d": "e", "ok": "1"})


class Federating(Api):
    """An API with external labels and a look-back."""

    def __init__(self, folder: Path, lookback: str = "5m", **external: str) -> None:
        super().__init__(folder)
        promql = PromqlConfig.model_validate({"lookback": lookback})
        self.about = About(external_labels=external, promql=promql)

    def page(self, *selectors: str, accept: str = "", **headers: str) -> Any:
        app = create_app(
            self.config, self.engine, self.reader, self.writer, self.keys, CollectorRegistry(),
            now=self.now, about=self.about,
        )  # fmt: skip
        asked = {"match[]": list(selectors)}
        headers = {**headers, **({"Accept": accept} if accept else {})}
        return app.test_client().get("/federate", query_string=asked, headers=headers)


@pytest.fixture
def api(tmp_path: Path) -> Federating:
    found = Federating(tmp_path, dc="eu", job="outside")
    found.reader.held = [
        series(labels("up", job="a", instance="1"), (NOW_MS - 15_000, 0.0), (NOW_MS - 500, 1.0)),
        series(labels("up", job="b", instance="2"), (NOW_MS - 500, STALE_NAN)),
        series(labels("up", dc="us"), (NOW_MS - 299_000, 1e6)),
        series(labels("up", job="old"), (NOW_MS - 301_000, 1.0)),
        series(labels("jobs_total", text='x "y"\n\\'), (NOW_MS, 3.0)),
        series(labels("a_bucket", le="+Inf"), (NOW_MS, float("inf"))),
    ]
    found.reader.known = {
        "up": Metadata("gauge", "Up."),
        "jobs": Metadata("counter", "As OpenMetrics names it."),
        "a": Metadata("histogram"),
    }
    return found


def test_the_text_format(api: Federating) -> None:
    answer = api.page('{__name__=~".+"}', "up")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text == (
        "# TYPE a_bucket untyped\n"
        f'a_bucket{{le="+Inf",dc="eu",instance="",job="outside"}} +Inf {NOW_MS}\n'
        "# TYPE jobs_total counter\n"
        f'jobs_total{{text="x \\"y\\"\\n\\\\",dc="eu",instance="",job="outside"}} 3 {NOW_MS}\n'
        "# TYPE up gauge\n"
        f'up{{dc="us",instance="",job="outside"}} 1e+06 {NOW_MS - 299_000}\n'
        f'up{{instance="1",job="a",dc="eu"}} 1 {NOW_MS - 500}\n'
    )


def test_openmetrics(api: Federating) -> None:
    answer = api.page('{__name__=~".+"}', accept=f"{OPENMETRICS},text/plain;q=0.5")
    assert answer.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    lines = answer.text.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# TYPE a_bucket unknown", "# TYPE jobs counter", "# TYPE up gauge", "# EOF",
    ]  # fmt: skip
    assert f'up{{instance="1",job="a",dc="eu"}} 1.0 {NOW - 0.5:.3f}' in lines
    assert len(read_page(answer.data, at_ms=0, openmetrics=True).lines) == 4


def test_nothing_asked_is_nothing_found(api: Federating) -> None:
    for answer in (api.page(), api.page("none")):
        assert (answer.status_code, answer.text) == (200, "")
    assert api.page("none", accept=OPENMETRICS).text == "# EOF\n"


NAMES = [
    pytest.param("", "a_b", "c_d", "", id="a client that says nothing gets underscores"),
    pytest.param("text/plain;escaping=values", "U__a_2e_b", "U__c_20_d", "values", id="values"),
    pytest.param("text/plain;escaping=dots", "a_b", "c_d", "underscores", id="what is not known"),
]


@pytest.mark.parametrize(("accept", "name", "label", "told"), NAMES)
def test_names_that_are_no_words(
    tmp_path: Path, accept: str, name: str, label: str, told: str
) -> None:
    api = Federating(tmp_path)
    api.reader.held = [series(ODD, (NOW_MS, 1.0))]
    answer = api.page('{"a.b"}', accept=accept)
    assert answer.text.splitlines()[1] == f'{name}{{{label}="e",ok="1",instance=""}} 1 {NOW_MS}'
    assert answer.content_type.partition("escaping=")[2] == told


def test_names_in_quotes(tmp_path: Path) -> None:
    api = Federating(tmp_path)
    api.reader.held = [series(ODD, (NOW_MS, 1.0))]
    answer = api.page('{"a.b"}', accept="text/plain;version=0.0.4;escaping=allow-utf-8")
    assert answer.content_type.endswith("; escaping=allow-utf-8")
    assert answer.text == (
        f'# TYPE "a.b" untyped\n{{"a.b","c d"="e",ok="1",instance=""}} 1 {NOW_MS}\n'
    )


def test_the_look_back_is_that_of_the_configuration(tmp_path: Path) -> None:
    api = Federating(tmp_path, lookback="1m")
    api.reader.held = [series(labels("up"), (NOW_MS - 60_000, 1.0))]
    assert "up" in api.page("up").text
    api.time += 0.001
    assert api.page("up").text == ""


def test_a_large_page_comes_in_parts(tmp_path: Path) -> None:
    api = Federating(tmp_path)
    held = [
        series(labels("up", host=f"host-{number:05d}"), (NOW_MS, 1.0)) for number in range(5000)
    ]
    api.reader.held = held
    answer = api.page("up")
    parts = list(answer.response)
    assert len(parts) > 3
    assert b"".join(parts).count(b"\n") == 5001
    packed = api.page("up", **{"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.data) == b"".join(parts)


FAULTS: list[Any] = [
    pytest.param(QueryError("execution", "too much"), 500, id="a limit"),
    pytest.param(StorageError("busy", retriable=True), 503, id="a store that is busy"),
    pytest.param(StorageError("broken", retriable=False), 500, id="a store that is broken"),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS)
def test_faults_are_text(tmp_path: Path, fault: Exception, code: int) -> None:
    api = Federating(tmp_path)
    api.reader.select = failing(fault)  # type: ignore[method-assign]
    answer = api.page("up")
    assert (answer.status_code, answer.text, answer.mimetype) == (code, f"{fault}\n", "text/plain")
    wrong = api.page("up{")
    assert (wrong.status_code, wrong.mimetype) == (400, "text/plain")


def failing(fault: Exception) -> Any:
    def select(*_args: Any) -> Any:
        raise fault

    return select
