import base64
import shutil
import socket
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.errors import FleetPulseError, QueryError, StorageError
from fleetpulse.storage.promapi.client import PromApiClient, envelope, fault, said_in
from tests.bridge_fakes import make_certificate
from tests.promapi_fakes import Told, config, fake_store, told

pytestmark = pytest.mark.integration

PAGE = Told(200, b"<html><body>Sign in</body></html>", {"Content-Type": "text/html"})


def asked(answer: Told, **more: Any) -> Any:
    with fake_store(lambda _: answer) as store:
        client = PromApiClient(config(store.url, **more))
        try:
            return client.json("labels", [("start", "1")])
        finally:
            client.close()


def test_an_answer_comes_with_its_envelope() -> None:
    assert asked(told(["a"], warnings=["w"])) == {
        "status": "success",
        "data": ["a"],
        "warnings": ["w"],
    }


def test_gzip_is_asked_for_and_unpacked() -> None:
    import gzip

    packed = Told(200, gzip.compress(b'{"status":"success"}'), {"Content-Encoding": "gzip"})
    assert asked(packed, gzip=True) == {"status": "success"}


FAULTS = [
    pytest.param(
        Told(401, b"Unauthorized"),
        StorageError,
        "HTTP 401: Unauthorized; check storage.username and password, or token",
        id="a wrong token",
    ),
    pytest.param(Told(403, b""), StorageError, "or token", id="a token that may not read"),
    pytest.param(
        Told(404, b"404 page not found"),
        StorageError,
        "HTTP 404: 404 page not found; is it VictoriaMetrics?",
        id="a wrong URL",
    ),
    pytest.param(
        Told(400, b'unsupported path requested: "/api/v1/labels"'),
        StorageError,
        "check storage.url, or select_url and tenant",
        id="a wrong path, as VictoriaMetrics says it",
    ),
    pytest.param(PAGE, StorageError, "a web page instead of an answer", id="a proxy's page"),
    pytest.param(
        Told(302, b"", {"Location": "http://elsewhere/"}),
        StorageError,
        "redirects are not followed; check storage.url",
        id="a redirect",
    ),
    pytest.param(Told(200, b'{"status":"succ'), StorageError, "no answer of", id="half a JSON"),
    pytest.param(Told(200, b"[]"), StorageError, "no answer of", id="another JSON"),
    pytest.param(Told(200, b""), StorageError, "no answer of", id="nothing"),
    pytest.param(
        Told(200, b'{"status":', promised=100), StorageError, "was cut off", id="cut in the middle"
    ),
    pytest.param(Told(500, b"oops"), StorageError, "HTTP 500: oops", id="a failure of the server"),
    pytest.param(
        told(None, 422, errorType="422", error="too  many\nseries"),
        QueryError,
        "^victoriametrics at http.*/api/v1/labels: too many series$",
        id="an error in JSON",
    ),
]


@pytest.mark.parametrize(("answer", "kind", "message"), FAULTS)
def test_a_failure_names_the_store_and_the_mend(
    answer: Told, kind: type[FleetPulseError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        asked(answer)
    assert str(caught.value).startswith("victoriametrics at http://127.0.0.1:")
    assert "\n" not in str(caught.value)


SLOW = [
    pytest.param(Told(held=True), id="nothing comes"),
    pytest.param(Told(body=b"{}", promised=1 << 20, trickled=True), id="a byte now and then"),
]


@pytest.mark.parametrize("answer", SLOW)
def test_a_slow_server_is_a_timeout_and_no_hang(answer: Told) -> None:
    with pytest.raises(QueryError, match=r"within 0\.2s") as caught:
        asked(answer, query_timeout="200ms")
    assert caught.value.error_type == "timeout"


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(QueryError, match=r"larger than storage\.max_response"):
        asked(Told(200, b"x" * (2 << 20)), max_response="1MB")


def test_nobody_there_is_a_failure_that_may_pass() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = PromApiClient(config(f"http://127.0.0.1:{unused.getsockname()[1]}"))
        with pytest.raises(StorageError, match="cannot be reached: Connection refused") as caught:
            client.json("labels", [])
    assert caught.value.retriable


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_certificate_is_believed_that_ca_file_vouches_for(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    with fake_store(lambda _: told(["a"]), context) as store:
        trusting = [{"ca_file": cert}, {"insecure_skip_verify": True}]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for tls in trusting:
                client = PromApiClient(config(store.url, **tls))
                assert client.json("labels", [])["data"] == ["a"]
                client.close()
        with pytest.raises(StorageError, match=r"check storage\.ca_file"):
            PromApiClient(config(store.url)).json("labels", [])


IDENTITIES = [
    pytest.param({"token": "s3cret"}, "Bearer s3cret", id="a token"),
    pytest.param(
        {"username": "ü", "password": "p:w"},
        "Basic " + base64.b64encode("ü:p:w".encode()).decode(),
        id="a user",
    ),
    pytest.param({}, None, id="nobody"),
]


@pytest.mark.parametrize(("given", "wanted"), IDENTITIES)
def test_credentials_go_along(given: dict[str, str], wanted: str | None) -> None:
    with fake_store(lambda _: told([])) as store:
        PromApiClient(config(store.url, **given)).json("labels", [])
    assert store.asked[0].headers.get("authorization") == wanted


def test_a_secret_file_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    with fake_store(lambda _: told([])) as store:
        client = PromApiClient(config(store.url, token_file=tmp_path / "token"))
        client.json("labels", [])
        (tmp_path / "token").write_text("two\n")
        client.json("labels", [])
    assert [one.headers["authorization"] for one in store.asked] == ["Bearer one", "Bearer two"]


WORDS = [
    pytest.param(lambda: said_in(b" <!DOCTYPE html>"), "a web page instead of an answer", id="web"),
    pytest.param(lambda: said_in(b"a\n\tb " + b"x" * 999)[:5], "a b x", id="one line"),
]


@pytest.mark.parametrize(("make", "wanted"), WORDS)
def test_words_of_a_server_are_kept_short(make: Callable[[], str], wanted: str) -> None:
    assert make() == wanted


TYPES = [
    pytest.param("bad_data", "x", "bad_data", id="Prometheus' own"),
    pytest.param("400", "x", "bad_data", id="a status: bad request"),
    pytest.param("422", "x", "execution", id="a status: cannot be done"),
    pytest.param("503", "x", "unavailable", id="a status: not now"),
    pytest.param("503", "timeout exceeded", "timeout", id="a status: too late"),
    pytest.param("internal", "x", "execution", id="one that we do not have"),
]


@pytest.mark.parametrize(("kind", "error", "wanted"), TYPES)
def test_error_types_are_prometheus_own(kind: str, error: str, wanted: str) -> None:
    body = b'{"status":"error","errorType":"%b","error":"%b"}' % (kind.encode(), error.encode())
    with pytest.raises(QueryError) as caught:
        envelope("vm", body)
    assert caught.value.error_type == wanted
    found = fault("vm", 422, body)
    assert isinstance(found, QueryError)
    assert found.error_type == wanted
