"""What a client's Accept and Accept-Encoding ask for."""

import pytest

from fleetpulse.web.negotiate import accepts_gzip, name_escaping, wants_openmetrics

PROMETHEUS_2_5 = (
    "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_45 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_3_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "q=0.6," + PROMETHEUS_3
)
PROMETHEUS_3_TEXT_FIRST = (
    "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param(PROMETHEUS_2_5, True, id="Prometheus 2.5 asks for the first draft"),
        pytest.param(PROMETHEUS_2_45, True, id="Prometheus 2.45 prefers it"),
        pytest.param(PROMETHEUS_3, True, id="Prometheus 3 prefers it"),
        pytest.param(PROMETHEUS_3_PROTOBUF, True, id="next best where protobuf is not spoken"),
        pytest.param(PROMETHEUS_3_TEXT_FIRST, False, id="scrape_protocols with text first"),
        pytest.param("", False, id="nothing asked"),
        pytest.param("*/*", False, id="curl"),
        pytest.param("text/html,application/xhtml+xml,*/*;q=0.8", False, id="a browser"),
        pytest.param("application/openmetrics-text", True, id="any version will do"),
        pytest.param("application/openmetrics-text; version=2.0.0", False, id="not spoken here"),
        pytest.param("application/openmetrics-text;q=0", False, id="refused"),
        pytest.param("application/openmetrics-text,text/plain", True, id="same weight, first"),
        pytest.param("text/plain,application/openmetrics-text", False, id="same weight, second"),
        pytest.param('Application/OpenMetrics-Text; Version="1.0.0"', True, id="case and quotes"),
        pytest.param("application/openmetrics-text;q=x", False, id="a weight that is none"),
        pytest.param(",;=;q,", False, id="garbage"),
    ],
)
def test_openmetrics_is_sent_to_whom_prefers_it(accept: str, expected: bool) -> None:
    assert wants_openmetrics(accept) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("gzip", True, id="Prometheus"),
        pytest.param("gzip, deflate, br, zstd", True, id="a browser"),
        pytest.param("", False, id="nothing asked"),
        pytest.param("identity", False, id="plain only"),
        pytest.param("gzip;q=0", False, id="refused"),
        pytest.param("gzip;q=0.0, *", False, id="refused, all others welcome"),
        pytest.param("*", True, id="anything"),
        pytest.param("*;q=0", False, id="nothing but plain"),
        pytest.param("gzip;q=0.5, identity;q=1", False, id="plain preferred"),
        pytest.param("gzip;q=0.5, identity;q=0.5", True, id="as welcome as plain"),
        pytest.param("GZIP ; Q=0.8", True, id="case and spaces"),
        pytest.param("x-gzip", True, id="its old name"),
        pytest.param("gzip;q=2", False, id="a weight that is none"),
        pytest.param("deflate", False, id="another one only"),
    ],
)
def test_gzip_is_sent_to_whom_takes_it(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected


ESCAPINGS = [
    pytest.param("", "", id="nothing said"),
    pytest.param("text/plain;version=0.0.4", "", id="an older Prometheus"),
    pytest.param(
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.3",
        "allow-utf-8",
        id="Prometheus 3",
    ),
    pytest.param("text/plain;escaping=values", "values", id="values"),
    pytest.param("text/plain;escaping=dots", "underscores", id="what is not spoken here"),
    pytest.param("text/html;escaping=values", "", id="of what is not spoken either"),
    pytest.param("text/plain;escaping=values;q=0", "", id="of what is not wanted"),
]


@pytest.mark.parametrize(("accept", "expected"), ESCAPINGS)
def test_how_names_that_are_no_words_are_wanted(accept: str, expected: str) -> None:
    assert name_escaping(accept) == expected
