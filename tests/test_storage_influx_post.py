"""Writes to InfluxDB 2 and 1: what is sent, and what each answer means."""

import socket
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.errors import ConfigError
from fleetpulse.storage.influx.answers import refused, retry_after
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.influx.post1 import Influx1Post
from fleetpulse.storage.influx.post2 import Influx2Post
from fleetpulse.storage.sending import Fault, SendError
from fleetpulse.yamlconf import parse_model
from tests.http_fakes import FakeHttp, Got, Told

URL = "http://influx.test:8086"
LINES = b"m value=1.0 5\n"
TWO = {"kind": "influxdb2", "url": URL, "org": "o", "bucket": "b", "token": "s3cret"}
ONE = {
    "kind": "influxdb1",
    "url": URL,
    "database": "d",
    "retention_policy": "raw",
    "username": "u",
    "password": "s3cret",
}

FAULTS = [
    pytest.param(Influx2Config, TWO | {"url": "influx:8086"}, "is no URL", id="no http"),
    pytest.param(
        Influx2Config, TWO | {"url": "http://a:b@i:8086"}, "holds a password", id="login in the URL"
    ),
    pytest.param(Influx2Config, TWO | {"token_file": "f"}, "token and token_file", id="two tokens"),
    pytest.param(Influx2Config, TWO | {"batch_size": 0}, "batch_size", id="a batch of none"),
    pytest.param(Influx2Config, TWO | {"flush_interval": 5}, "for example 10s", id="no unit"),
    pytest.param(Influx2Config, TWO | {"buckett": "x"}, "did you mean bucket", id="unknown key"),
    pytest.param(Influx1Config, ONE | {"username": ""}, "without username", id="no user"),
    pytest.param(Influx1Config, ONE | {"password_file": "f"}, "keep one", id="two passwords"),
    pytest.param(Influx1Config, ONE | {"database": ""}, "database", id="no database"),
]


@pytest.mark.parametrize(("model", "settings", "fault"), FAULTS)
def test_the_configuration_names_its_faults(
    model: Any, settings: dict[str, object], fault: str
) -> None:
    text = "".join(f"{key}: {value!r}\n" for key, value in settings.items())
    with pytest.raises(ConfigError, match=fault):
        parse_model(text, model, file="f.yml", base=Path())


def test_secrets_do_not_print() -> None:
    configs = (Influx2Config.model_validate(TWO), Influx1Config.model_validate(ONE))
    assert "s3cret" not in repr(configs)


# --------------------------------------------------------------------------- what answers mean

HTML = b"<!DOCTYPE html><html><body>Welcome to nginx!</body></html>"
ANSWERS = [
    pytest.param(400, b'{"error":"unable to parse"}', "lines", "unable to parse", id="bad lines"),
    pytest.param(422, b'{"message":"outside"}', "lines", "outside", id="outside the retention"),
    pytest.param(413, b"", "size", "HTTP 413", id="too large a batch"),
    pytest.param(401, b'{"message":"unauthorized"}', "settings", "check MEND", id="no right token"),
    pytest.param(403, b"{}", "settings", "check MEND", id="a token that may only read"),
    pytest.param(
        404, b'{"error":"database not found: \\"x\\""}', "settings", "MEND", id="no database"
    ),
    pytest.param(
        500, b'{"error":"retention policy not found: x"}', "settings", "MEND", id="no policy"
    ),
    pytest.param(307, b"", "settings", "redirects are not followed", id="a redirect"),
    pytest.param(404, HTML, "settings", "is no InfluxDB", id="a page where an API should be"),
    pytest.param(200, HTML, "settings", "is no InfluxDB", id="a page that looks like success"),
    pytest.param(200, b"", "settings", "is no InfluxDB", id="a success that is not the API's"),
    pytest.param(502, HTML, "moment", "is no InfluxDB", id="a proxy whose InfluxDB is away"),
    pytest.param(429, b"", "moment", "HTTP 429", id="later"),
    pytest.param(503, b'{"error":"timeout"}', "moment", "timeout", id="overloaded"),
    pytest.param(500, b"\xff\xfe", "moment", "HTTP 500", id="an answer that is no text"),
]


@pytest.mark.parametrize(("status", "body", "fault", "said"), ANSWERS)
def test_what_an_answer_means(status: int, body: bytes, fault: Fault, said: str) -> None:
    error = refused("influxdb1 at http://x", "MEND", status, {}, body)
    assert error.fault == fault
    assert said in str(error)
    assert str(error).startswith(f"influxdb1 at http://x: HTTP {status}: ")


def test_a_partial_write_tells_how_many_are_not_there() -> None:
    body = b'{"error":"partial write: points beyond retention policy dropped=7"}'
    assert refused("s", "m", 400, {}, body).dropped == 7


CONFLICT = (
    b'{"error":"partial write: field type conflict: input field \\"value\\" on measurement '
    b'\\"a b\\" is type float, already exists as type string dropped=1"}'
)
THREE = (
    b'{"error":"partial write of line protocol occurred","data":[{"original_line":"m value=1.0 1",'
    b'"line_number":1,"error_message":"invalid column type"}]}'
)
NAMED = [
    pytest.param(
        b"{\"error\":\"unable to parse 'm value=1.0 1': x\\nunable to parse 'n v': y\"}",
        [b"m value=1.0 1\n", b"n v\n"], id="lines that are quoted",
    ),
    pytest.param(
        CONFLICT, [b"a\\ b value=1.0 1\n", b"a\\ b,c=d value=1.0 1\n"],
        id="a measurement and a field",
    ),
    pytest.param(THREE, [b"m value=1.0 1\n"], id="InfluxDB 3's list"),
    pytest.param(b'{"error":"partial write: too old dropped=1"}', None, id="nothing"),
]  # fmt: skip
LINES_OF_ALL_KINDS = [
    b"m value=1.0 1\n", b"m value=1.0 11\n", b"n v\n", b"a\\ b value=1.0 1\n",
    b"a\\ b,c=d value=1.0 1\n", b"a\\ b stale=true 1\n", b"a\\ bc value=1.0 1\n",
]  # fmt: skip


@pytest.mark.parametrize(("body", "named"), NAMED)
def test_which_lines_an_answer_names(body: bytes, named: list[bytes] | None) -> None:
    suspected = refused("s", "m", 400, {}, body).suspected
    found = None if suspected is None else list(filter(suspected, LINES_OF_ALL_KINDS))
    assert found == named


def test_influxdb_3_says_how_many_by_a_list() -> None:
    assert refused("s", "m", 400, {}, THREE).dropped == 1


RETRIES = [
    pytest.param("7", 7.0, id="seconds"),
    pytest.param("Thu, 01 Jan 1970 00:01:00 GMT", 20.0, id="a date"),
    pytest.param("Thu, 01 Jan 1970 00:00:10 GMT", 0.0, id="a date that is past"),
    pytest.param("soon", None, id="neither"),
    pytest.param("", None, id="nothing"),
]


@pytest.mark.parametrize(("header", "seconds"), RETRIES)
def test_how_long_to_wait(header: str, seconds: float | None) -> None:
    assert retry_after(header, now=40.0) == seconds


def test_a_date_to_come_back_at_is_by_the_servers_clock() -> None:
    headers = {
        "Date": "Thu, 01 Jan 1970 00:00:00 GMT",
        "Retry-After": "Thu, 01 Jan 1970 00:00:30 GMT",
    }
    assert refused("s", "m", 503, headers, b"").retry_after == 30.0


# --------------------------------------------------------------------------- over HTTP

Post = Callable[[str], None]


def post_two(url: str, **more: object) -> None:
    poster = Influx2Post(Influx2Config.model_validate(TWO | {"url": url} | more))
    try:
        poster(LINES, 5.0)
    finally:
        poster.close()


def post_one(url: str, **more: object) -> None:
    poster = Influx1Post(Influx1Config.model_validate(ONE | {"url": url} | more))
    try:
        poster(LINES, 5.0)
    finally:
        poster.close()


POSTS = [pytest.param(post_two, id="influxdb2"), pytest.param(post_one, id="influxdb1")]


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeHttp]]:
    with ExitStack() as stack:
        yield lambda *answers: stack.enter_context(FakeHttp(*answers))


def query_of(got: Got) -> tuple[str, dict[str, list[str]]]:
    parts = urllib.parse.urlsplit(got.path)
    return parts.path, urllib.parse.parse_qs(parts.query)


@pytest.mark.integration
def test_influxdb2_gets_bucket_org_precision_and_token(serve: Callable[..., FakeHttp]) -> None:
    server = serve()
    post_two(server.url)
    assert query_of(server.got[0]) == (
        "/api/v2/write",
        {"org": ["o"], "bucket": ["b"], "precision": ["ms"]},
    )
    assert server.got[0].headers["Authorization"] == "Token s3cret"
    assert server.got[0].body == LINES


@pytest.mark.integration
def test_influxdb1_gets_database_policy_precision_and_login(
    serve: Callable[..., FakeHttp],
) -> None:
    server = serve()
    post_one(server.url, consistency="quorum")
    assert query_of(server.got[0]) == (
        "/write",
        {"db": ["d"], "rp": ["raw"], "precision": ["ms"], "consistency": ["quorum"]},
    )
    assert server.got[0].headers["Authorization"] == "Basic dTpzM2NyZXQ="
    assert server.got[0].body == LINES


@pytest.mark.integration
@pytest.mark.parametrize("post", POSTS)
def test_a_compressed_body_says_so(post: Any, serve: Callable[..., FakeHttp]) -> None:
    server = serve()
    post(server.url, gzip=True)
    assert server.got[0].headers["Content-Encoding"] == "gzip"
    assert server.got[0].body[:2] == b"\x1f\x8b"


@pytest.mark.integration
@pytest.mark.parametrize("post", POSTS)
def test_the_servers_words_reach_people_and_secrets_do_not(
    post: Post, serve: Callable[..., FakeHttp]
) -> None:
    server = serve(Told(429, b'{"error":"slow down"}', {"Retry-After": "7"}))
    with pytest.raises(SendError, match="HTTP 429: slow down") as caught:
        post(server.url)
    assert (caught.value.fault, caught.value.retry_after) == ("moment", 7.0)
    assert "s3cret" not in str(caught.value)


@pytest.mark.integration
@pytest.mark.parametrize("post", POSTS)
def test_no_redirect_is_followed(post: Post, serve: Callable[..., FakeHttp]) -> None:
    other = serve()
    server = serve(Told(307, headers={"Location": f"{other.url}/write"}))
    with pytest.raises(SendError, match="redirects are not followed") as caught:
        post(server.url)
    assert caught.value.fault == "settings"
    assert other.got == []


@pytest.mark.integration
@pytest.mark.parametrize("post", POSTS)
def test_a_page_for_people_is_no_success(post: Post, serve: Callable[..., FakeHttp]) -> None:
    server = serve(Told(200, HTML, {"Content-Type": "text/html"}))
    with pytest.raises(SendError, match="is no InfluxDB"):
        post(server.url)


@pytest.mark.integration
@pytest.mark.parametrize("post", POSTS)
def test_an_answer_cut_in_the_middle_is_a_matter_of_the_moment(
    post: Post, serve: Callable[..., FakeHttp]
) -> None:
    server = serve(Told(400, b'{"error":"unable to parse"}' * 10, cut=9))
    with pytest.raises(SendError, match=r"cannot be reached|was cut off") as caught:
        post(server.url)
    assert caught.value.fault == "moment"


@pytest.mark.integration
@pytest.mark.parametrize("post", POSTS)
def test_a_port_that_nobody_listens_on_is_a_matter_of_the_moment(post: Post) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SendError, match=r"cannot be reached.*storage\.url") as caught:
            post(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert caught.value.retriable
